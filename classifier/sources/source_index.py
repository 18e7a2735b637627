"""What every source hands over: which images there are, before any of them is decoded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

LARGEST_FILE = 1 << 30  # bytes; more is no image, and reading it would fill the memory


class Span(NamedTuple):
    """A file that lies inside another one; ``name`` is what users see, such as a.zip/cat/1.png."""

    path: Path
    offset: int
    size: int
    name: str


class Encoded(NamedTuple):
    """The bytes of an image that is no file by itself; ``name`` is what users see."""

    data: bytes
    name: str


# The files of a source by their paths below its root, with / between the parts.
Files = Mapping[str, Path | Span]


class Item(NamedTuple):
    """One image to take in.

    ``image`` is a file, its bytes, or the pixels themselves (uint8, [H, W] or [H, W, 3]) where a
    data set comes as raw arrays. ``label`` is a class name, or empty where the source gives none;
    ``origin`` is the split that the source names (train, val, test) or empty.
    """

    id: str
    label: str
    origin: str
    group: str
    image: Path | Span | Encoded | np.ndarray


class Rejected(NamedTuple):
    """One image that is left out, and why; the class and the split that it was meant for."""

    id: str
    path: str
    reason: str
    label: str = ""
    origin: str = ""


@dataclass(frozen=True)
class About:
    """Where images come from, for source.json and the report."""

    name: str
    description: str
    license: str = ""
    citation: str = ""
    homepage: str = ""


@dataclass(frozen=True)
class Listing:
    """The images of a source in their lasting order, and its class names in theirs.

    ``notes`` are sentences on what was guessed or passed over, for the user to hear.
    """

    about: About
    classes: tuple[str, ...]
    items: Iterable[Item]
    total: int
    rejected: tuple[Rejected, ...] = ()
    notes: tuple[str, ...] = ()


def as_spans(files: Mapping[str, Path], name: str) -> Files:
    """Files of a folder that users know as ``name``, wherever its copy lies on this machine."""
    return {
        path: Span(file, 0, file.stat().st_size, f"{name}/{path}") for path, file in files.items()
    }


def read(file: Path | Span | Encoded) -> bytes:
    """The content of a file.

    Raises:
        ValueError: it is a pipe or the like, which would make wait forever, or is larger than
            LARGEST_FILE.
        OSError: it cannot be read.
    """
    if isinstance(file, Encoded):
        return file.data
    if isinstance(file, Path):
        if not file.is_file() and file.exists():
            raise ValueError("not a file")
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError("larger than 1 GiB")
        return file.read_bytes()
    with file.path.open("rb", buffering=0) as stream:
        stream.seek(file.offset)
        return stream.read(file.size)
