"""What Git says."""

import subprocess
from pathlib import Path

from classifier.core.errors import UserError


def git(root: Path, *arguments: str) -> str:
    """The output of a Git command that runs in ``root``.

    Raises:
        UserError: it failed, or Git is not installed.
    """
    try:
        finished = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UserError(f"git {arguments[0]} cannot be run: {error}.") from None
    if finished.returncode:
        reason = finished.stderr.decode("utf-8", errors="replace").strip()
        raise UserError(f"git {arguments[0]} failed: {reason}.")
    return finished.stdout.decode("utf-8", errors="replace")


def git_or_none(root: Path, *arguments: str) -> str | None:
    """The output of a Git command that runs in ``root``; None when it failed or there is no Git."""
    try:
        return git(root, *arguments)
    except UserError:
        return None
