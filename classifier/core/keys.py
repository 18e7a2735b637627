"""Names of things that are computed once: digests of all that decides what they are."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from classifier.core.files import sha256


def key_of(facts: Any, files: Iterable[Path]) -> str:
    """16 hex digits of JSON values, and of the names and contents of files in whatever order."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in sorted(files, key=Path.as_posix):
        digest.update(f"\0{path.as_posix()}={sha256(path)}".encode())
    return digest.hexdigest()[:16]


def python_files(code: Iterable[Path]) -> list[Path]:
    """The files among ``code``, and the Python files in its folders."""
    found: list[Path] = []
    for place in code:
        found += place.rglob("*.py") if place.is_dir() else [place]
    return found
