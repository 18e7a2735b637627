"""Outputs appear whole or not at all: everything is written beside its place and moved into it."""

import glob
import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError


@contextmanager
def replacing(path: str | os.PathLike[str], *, tidy: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path``; what is made there, file or folder, replaces ``path``.

    If the block raises, ``path`` stays as it was. The rest is `passing`'s.
    """
    target = Path(path)
    with passing(target, tidy=tidy) as temporary:
        yield temporary
        if not target.is_dir():
            os.replace(temporary, target)
            return
        # Moved aside first: a kill while it is removed in its place would leave a part of it there.
        *name, process, ending = temporary.name.split(".")
        old = temporary.with_name(".".join([*name, "old", process, ending]))
        try:
            os.replace(target, old)
            os.replace(temporary, target)
        finally:
            _remove(old)


@contextmanager
def passing(path: str | os.PathLike[str], *, tidy: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path`` for a file or folder that is removed in the end.

    What a killed process of this machine left there goes as well, unless ``tidy`` is false: looking
    for it would take long for each of thousands of parts in one folder (`remove_partial`). So does
    what it left of such a path beside such a path, whose name has more dots in front.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    ours = f".{target.name}.{platform.node()}"  # several machines may share a file system
    if tidy:
        for left in target.parent.glob(f"*{glob.escape(ours)}.*.partial"):
            if not _runs(left.name.split(".")[-2]):
                _remove(left)
    temporary = target.with_name(f"{ours}.{os.getpid()}.partial")
    _remove(temporary)
    try:
        yield temporary
    finally:
        _remove(temporary)


def remove_partial(folder: Path) -> None:
    """Remove what killed writers of parts of ``folder``, on any machine, left in it."""
    for left in folder.glob(".*.partial"):
        _remove(left)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write JSON with the same bytes for the same content: sorted keys, 6 significant digits.

    Not-a-number and infinite values become null, which every JSON reader accepts.
    """
    text = json.dumps(_rounded(content), indent=2, sort_keys=True, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def sha256(path: str | os.PathLike[str]) -> str:
    """The digest of a file's content, 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | os.PathLike[str], stage: str = "") -> Any:
    """Read a JSON file.

    Args:
        stage: what made it, for the messages; without it, the errors are Python's.

    Raises:
        UserError: it is missing or damaged.
    """
    if not stage:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    with made_by(stage, path):
        return read_json(path)


@contextmanager
def made_by(stage: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Where a file that a stage made cannot be read, say so and how to have it made again."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run dvc repro {stage}.") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # what the parsers of these formats raise depends on the damage
        reason = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
        said = f" ({' '.join(reason.split()).rstrip('.')})" if reason else ""
        raise UserError(f"{path} is damaged{said}: run dvc repro {stage}.") from None


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _runs(process: str) -> bool:
    """Whether there is a process of this number, which may be another one by now."""
    import psutil  # seldom needed

    try:
        # In a container often nobody takes notice of the end of an orphan.
        return psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.Error):
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
