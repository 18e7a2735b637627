"""Find files by the names that people write: with other slashes, letter case, Unicode forms, blanks
or kinds of extension than the files have, or without any extension."""

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from PIL import Image

from classifier.core.wording import first
from classifier.images.formats import EXTENSIONS
from classifier.sources.naming import composed, folded, is_hidden, suffix
from classifier.sources.source_index import Files

ABSENT = "is not there"
FOREIGN = "is a path of another computer: write it as seen from the table's folder"


class Match(NamedTuple):
    """The file that a name means, or why there is none.

    ``difference`` says in what the name differs from the file's, where it does.
    """

    path: str = ""
    difference: str = ""
    problem: str = ""


class Lookup:
    """Finds files below one root, whose folders are listed when a name is not found as it is.

    Args:
        is_file: whether there is a file of exactly this path.
        names: of the files and folders in a folder; none if it does not exist.
    """

    def __init__(
        self, is_file: Callable[[str], bool], names: Callable[[str], Iterable[str]]
    ) -> None:
        self._is_file = is_file
        self._names = names
        self._index = cache(self._make_index)

    def find(self, folder: str, name: str) -> Match:
        """The file that ``name``, a path from ``folder``, means.

        Where no file is called exactly so, the nearest spelling wins: another Unicode form before
        another letter case or other blanks; then the same extension before another one of the same
        format, or any if the name has none.
        """
        if _is_passed_over(name):
            return Match(problem="is passed over, as hidden files are: rename it")
        path = ""
        for written in dict.fromkeys((name, name.replace("\\", "/"))):
            path = posixpath.normpath(posixpath.join(folder, written))
            if self._is_file(path):
                return Match(path)
        parent, last = posixpath.split(path)
        stem, extension = _parts(last)
        near = [
            posixpath.join(place, candidate)
            for place in self._folders(parent)
            for candidate in self._index(place).get(folded(stem), [])
        ]
        near = [candidate for candidate in near if self._is_file(candidate)]
        fits: dict[tuple[int, int], list[str]] = {}
        for candidate in near:
            other, kind = _parts(posixpath.basename(candidate))
            if not extension or _same_format(extension, kind):
                spelling = (stem != other) + (composed(stem) != composed(other))
                fits.setdefault((spelling, extension != kind), []).append(candidate)
        if not fits:
            return Match(problem=_absence(name, near))
        nearest = fits[min(fits)]
        if len(nearest) > 1:
            return Match(problem=f"fits {first(nearest)}: write the file's whole name")
        return Match(nearest[0], _difference(path, nearest[0]))

    def _folders(self, path: str) -> list[str]:
        """The folders that a path may mean: itself, or those that are spelled alike."""
        if not posixpath.basename(path) or self._index(path):
            return [path]
        parent, last = posixpath.split(path)
        return [
            posixpath.join(place, candidate)
            for place in self._folders(parent)
            for candidate in self._index(place).get(folded(_parts(last)[0]), [])
            if folded(candidate) == folded(last)
        ]

    def _make_index(self, folder: str) -> dict[str, list[str]]:
        """The names in a folder by their spelling without an image's extension."""
        index: dict[str, list[str]] = {}
        for name in sorted(self._names(folder)):
            index.setdefault(folded(_parts(name)[0]), []).append(name)
        return index


def among(files: Files) -> Lookup:
    """Finds files among those of a source, by their paths below its root."""
    folders: dict[str, set[str]] = {}
    for path in files:
        parent, name = posixpath.split(path)
        while name and name not in folders.setdefault(parent, set()):
            folders[parent].add(name)
            parent, name = posixpath.split(parent)
    return Lookup(files.__contains__, lambda folder: folders.get(folder, ()))


def on_disk() -> Lookup:
    """Finds files anywhere on this machine."""
    return Lookup(os.path.isfile, _listed)


def _listed(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder or ".") as entries:
            yield from (entry.name for entry in entries)
    except OSError:
        return


def _parts(name: str) -> tuple[str, str]:
    """A name without an image's extension, and that extension in lower case."""
    extension = suffix(name)
    return (name[: -len(extension)], extension) if extension in EXTENSIONS else (name, "")


def _same_format(extension: str, other: str) -> bool:
    formats = Image.registered_extensions()
    return formats.get(extension, extension) == formats.get(other, other)


def _is_passed_over(name: str) -> bool:
    """Whether a path from a folder leads to or through what is hidden."""
    *folders, last = name.replace("\\", "/").split("/")
    if folders[:1] == [""]:  # what an absolute path leads through is the user's own affair
        return False
    dots = (".", "..")
    hidden = any(is_hidden(part) for part in folders if part not in dots)
    return hidden or (last.startswith(".") and last not in dots)


def _absence(name: str, near: list[str]) -> str:
    if "://" in name:
        return "is an address, and images are not fetched"
    if name[1:3] in (":\\", ":/") or name.startswith("\\\\"):
        return FOREIGN
    return f"is not there, but {first(near)} is: correct the name" if near else ABSENT


def _difference(written: str, found: str) -> str:
    stem, extension = _parts(written)
    other, kind = _parts(found)
    if stem == other:
        return "" if not extension else "letter case" if extension == kind else "extension"
    if composed(stem) == composed(other):
        return "Unicode form"
    return "blanks" if "".join(stem.split()) == "".join(other.split()) else "letter case"
