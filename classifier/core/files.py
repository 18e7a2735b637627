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


@contextmanager
def replacing(path: str | os.PathLike[str], *, tidy: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path``; what is made there, file or folder, replaces ``path``.

    If the block raises, whatever was made is removed and ``path`` stays as it was. What a killed
    process of this machine left beside it goes as well, unless ``tidy`` is false: looking for it
    would take long for each of thousands of parts in one folder (`remove_partial`).
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    ours = f".{target.name}.{platform.node()}"  # several machines may share a file system
    if tidy:
        for left in target.parent.glob(f"{glob.escape(ours)}.*.partial"):
            if not _runs(left.name.split(".")[-2]):
                _remove(left)
    temporary = target.with_name(f"{ours}.{os.getpid()}.partial")
    _remove(temporary)
    try:
        yield temporary
        # os.replace cannot move onto a folder that has files in it.
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(temporary, target)
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


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


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

    return process.isdecimal() and psutil.pid_exists(int(process))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
