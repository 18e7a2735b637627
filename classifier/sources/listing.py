"""What every source hands over: which pictures there are, before any of them is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Item(NamedTuple):
    """One picture to take in.

    ``picture`` is a file, or the pixels themselves (uint8, [H, W] or [H, W, 3]) where a data set
    comes as raw arrays. ``label`` is a class name, or empty where the source gives none;
    ``origin`` is the split that the source names (train, val, test) or empty.
    """

    id: str
    label: str
    origin: str
    group: str
    picture: Path | np.ndarray


class Rejected(NamedTuple):
    """One picture that is left out, and why."""

    id: str
    path: str
    reason: str


@dataclass(frozen=True)
class About:
    """Where pictures come from, for source.json and the report."""

    name: str
    description: str
    licence: str = ""
    citation: str = ""
    homepage: str = ""


@dataclass(frozen=True)
class Listing:
    """The pictures of a source in their lasting order, and its class names in theirs.

    ``base`` is cut off from the paths that users see: a temporary folder means nothing to them.
    """

    about: About
    classes: tuple[str, ...]
    items: Iterable[Item]
    total: int
    rejected: tuple[Rejected, ...] = ()
    base: Path | None = None
