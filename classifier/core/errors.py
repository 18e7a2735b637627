"""Errors that are meant for users, and what their sentences have in common."""

import difflib
from collections.abc import Iterable

from classifier.core.wording import short

_LONGEST = 800  # characters


class UserError(Exception):
    """A mistake the user can mend: one sentence naming the file or key, and what to do.

    Stages and the command line print it without a traceback and exit with status 1. Whatever names
    and values are in it, it is one line of bearable length that a terminal only shows.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(short(sentence, _LONGEST))


def not_installed(package: str, extra: str) -> UserError:
    """The error of a command whose ``package``, of that ``extra``, cannot be imported."""
    return UserError(
        f"{package} is not installed: in the project's folder, run pip install -e '.[{extra}]', or"
        " pip install -r requirements-dev.txt for the versions that the tests run with."
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to append to "X is not …": in brackets, the nearest known name or the list of them."""
    known = list(known)
    listing = f"known: {', '.join(known)}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not near:
        return f" ({listing})"
    guess = f"did you mean {near[0]!r}?"
    return f" ({guess})" if len(known) > 20 else f" ({guess} K{listing[1:]})"
