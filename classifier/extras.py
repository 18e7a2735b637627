"""Packages that only some commands need: the extras of pyproject.toml."""

from classifier.errors import UserError


def not_installed(package: str, extra: str) -> UserError:
    """The error of a command whose ``package``, of that ``extra``, cannot be imported."""
    return UserError(
        f"{package} is not installed: in the project's folder, run pip install -e '.[{extra}]', or"
        " pip install -r requirements-dev.txt for the versions that the tests run with."
    )
