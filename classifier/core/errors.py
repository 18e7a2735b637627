"""Errors that are meant for users, and what their sentences have in common."""

import difflib
import errno
import os
import re
from collections.abc import Iterable

from classifier.core.wording import LONGEST, short


class UserError(Exception):
    """A mistake the user can mend: one sentence naming the file or key, and what to do.

    Stages and the command line print it without a traceback and exit with status 1. Whatever names
    and values are in it, it is one line of bearable length that a terminal only shows.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(short(sentence, LONGEST))


def not_installed(package: str, extra: str) -> UserError:
    """The error of a command whose ``package``, of that ``extra``, cannot be imported."""
    return UserError(
        f"{package} is not installed: run {installing(extra)} in the project's folder."
    )


def installing(extra: str) -> str:
    """The command that installs an extra of pyproject.toml, in the versions of the tests."""
    return f"make setup EXTRAS={extra}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to append to "X is not …": in brackets, the nearest known name or the list of them."""
    known = list(known)
    listing = f"known: {', '.join(known)}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not near:
        return f" ({listing})"
    guess = f"did you mean {near[0]!r}?"
    return f" ({guess})" if len(known) > 20 else f" ({guess} K{listing[1:]})"


def of_the_machine(error: BaseException) -> str | None:
    """Say what the machine lacked, and what to do about it; None of any other error.

    Memory, room on a disk, rights, open files, or a file that is not there or is a folder.
    """
    text = str(error)
    # Of libraries that are loaded where memory is limited, of torch on the CPU, and of Matplotlib.
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        return "the memory did not suffice: free some, or allow this process more."
    if "can't start new thread" in text:  # Python says this of both limits
        return "no thread could be started: allow this process more memory, or more threads."
    # NumPy says it in words, without a number.
    number = errno.ENOSPC if _NO_SPACE.search(text) else getattr(error, "errno", None)
    if not isinstance(error, OSError) or number is None:
        return None
    file = error.filename
    name = os.fspath(file) if isinstance(file, str | os.PathLike) else ""
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{f' ({name})' if name else ''}: free some space and run again."
    if number == errno.EROFS or isinstance(error, PermissionError):
        return f"{name or 'a file'} is not to be had ({error.strerror}): see to its permissions."
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: raise the limit, say with ulimit -n 4096."
    return f"{name} cannot be used ({error.strerror})." if name else None


_NO_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|failed to map segment"
    r"|could not be made C-contiguous",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(
    r"no space left on device|disk quota exceeded|\d+ requested and \d+ written", re.IGNORECASE
)
