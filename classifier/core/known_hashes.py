"""Hashes of files that are known from before, so that a run need not read all data to start."""

import json
import time
from collections.abc import Iterable
from pathlib import Path

from classifier.core.files import read_json, replacing, sha256

SETTLED = 2.0  # seconds; a file that was changed since may change again at the same time stamp


def hashes(files: Iterable[Path], known: Path | None = None) -> dict[str, str]:
    """The SHA-256 of each file by its path, read from the file or known from before.

    A file is the one that was hashed while its inode, size and times are the same: that of its
    content, which programs can set back, and that of its inode, which they cannot. DVC itself asks
    for less. Files that have changed within the last SETTLED seconds are not remembered.

    Args:
        known: a JSON file to look in and to add to. One that is damaged is written anew.
    """
    before = _read(known)
    found: dict[str, str] = {}
    asked = list(files)
    names = {file.as_posix() for file in asked}
    remembered = {
        path: entry for path, entry in before.items() if path not in names and Path(path).exists()
    }
    for file in asked:
        path = file.as_posix()
        stamp = _stamp(file)
        entry = before.get(path)
        same = isinstance(entry, dict) and entry.get("stamp") == stamp
        found[path] = str(entry["sha256"]) if same else sha256(file)  # type: ignore[index]
        settled = max(stamp[2:]) < time.time_ns() - SETTLED * 1e9
        if same or (settled and _stamp(file) == stamp):
            remembered[path] = {"stamp": stamp, "sha256": found[path]}
    if known and remembered != before:
        with replacing(known) as temporary:
            temporary.write_text(json.dumps(remembered), encoding="utf-8")
    return found


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _read(known: Path | None) -> dict[str, object]:
    try:
        content = read_json(known) if known else {}
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
