"""Which images a command line means: files, folders, patterns, tables, one after the other.

Files count by the rules of training (`classifier.sources.naming`), and tables are read and their
names looked up as there. A folder of a million files costs no more memory than one of a thousand.
"""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from classifier.core.errors import UserError
from classifier.core.wording import first, short, warn
from classifier.images.formats import EXTENSIONS
from classifier.sources import lookup
from classifier.sources.naming import (
    NO_TEXT,
    as_text,
    is_hidden,
    may_be_image,
    suffix,
    why_no_image,
)
from classifier.sources.tables.rows import TABLES, Row, Table, image_columns, read_table

_BLOCK = 65_536  # names of one folder that are sorted together
_USUAL_COLUMNS = ("image", "id", "image_id", "filename", "file", "file_name", "path", "name")


class InputImage(NamedTuple):
    """An image to predict: what the user calls it, and its file.

    ``problem`` is why it cannot be read, where that is known already; ``listed`` says that a table
    names it.
    """

    name: str
    path: str
    problem: str = ""
    listed: bool = False


def images(
    paths: Sequence[str], column: str | None = None, folder: str | None = None
) -> Iterator[InputImage]:
    """Yield the images that ``paths`` mean, in a lasting order.

    A file is taken whatever its name; a folder is searched with all its folders for files that
    count as images (by name; in blocks of 65,536 where one folder holds more); a pattern is
    filled in (``**`` means any folders); a table names one image a row.

    Args:
        paths: what the user gave.
        column: of a table, that holds the names; None for the usual ones, or the only one.
        folder: that a table's names start from; None for the table's own.

    Raises:
        UserError: a path that is not there, a folder or pattern without images, or a table
            without such a column. Where it can be known at once, before the first image.
    """
    for path in paths:
        if not os.path.exists(path) and not glob.has_magic(path):  # noqa: PTH110
            raise UserError(f"{path} does not exist: check the path.")
    for path in paths:
        yield from _meant(path, column, folder)


def folder_of(paths: Sequence[str]) -> str:
    """The deepest folder that holds all that ``paths`` ask for: where names can begin; "" if none.

    Of a folder it is the folder itself, of a pattern the one before its first wildcard.
    """
    tops = []
    for path in paths:
        if glob.has_magic(path) and not os.path.exists(path):  # noqa: PTH110
            parts = Path(path).parts
            written = next(n for n, part in enumerate(parts) if glob.has_magic(part))
            tops.append(str(Path(*parts[:written])))
        else:
            tops.append(path if os.path.isdir(path) else os.path.dirname(path))  # noqa: PTH112, PTH120
    try:
        return os.path.commonpath(tops)
    except ValueError:  # some are absolute and some are not
        return ""


def _meant(path: str, column: str | None, folder: str | None) -> Iterator[InputImage]:
    if os.path.isdir(path):  # noqa: PTH112
        found = _search(path)
        advice = "name another folder"
    elif os.path.exists(path):  # noqa: PTH110
        if suffix(path) in TABLES:
            yield from _rows(Path(path), column, folder or os.path.dirname(path))  # noqa: PTH120
        else:
            yield InputImage(as_text(path), path)
        return
    else:
        found = _filled_in(path)
        advice = "check the pattern"
    one = next(found, None)
    if one is None:
        raise UserError(f"{path}: no images there ({', '.join(sorted(EXTENSIONS))}): {advice}.")
    yield one
    yield from found


def _filled_in(pattern: str) -> Iterator[InputImage]:
    # What the user wrote out is meant, even where it is hidden.
    written = next(n for n, part in enumerate(Path(pattern).parts) if glob.has_magic(part))
    for path in _sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
        hidden = any(map(is_hidden, Path(path).parts[written:]))
        if not hidden and os.path.isfile(path):  # noqa: PTH113
            yield from _judged(path)


def _search(top: str) -> Iterator[InputImage]:
    # A stack, not recursion: folders may be nested deeper than Python's calls.
    opened = [(top, _identity(top), _entries(top))]
    while opened:
        folder, _, entries = opened[-1]
        try:
            path = next(entries, None)
        except OSError as error:
            path = None
            yield InputImage(as_text(folder), folder, f"cannot be read ({error.strerror or error})")
        if path is None:
            opened.pop()
        elif path.endswith("/"):
            found = _identity(path)
            if found not in {above for _, above, _ in opened}:  # a link back up would never end
                opened.append((path[:-1], found, _entries(path[:-1])))
        else:
            yield from _judged(path)


def _identity(folder: str) -> tuple[int, int] | str:
    """What tells a folder under all its names from others."""
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return folder  # that it cannot be read is said where it is opened
    return status.st_dev, status.st_ino


def _entries(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        there = (entry for entry in entries if not is_hidden(entry.name))
        # A folder's name with a slash sorts among the files as its images' paths do.
        yield from _sorted(f"{e.path}/" if e.is_dir() else e.path for e in there)


def _judged(path: str) -> Iterator[InputImage]:
    """The image that a file is by its name, or why it is none; nothing for a side file."""
    if as_text(path) != path:
        yield InputImage(as_text(path), path, NO_TEXT)
    elif may_be_image(path):
        yield InputImage(path, path)
    elif reason := why_no_image(path):
        yield InputImage(path, path, reason)


def _sorted(names: Iterator[str]) -> Iterator[str]:
    while block := sorted(islice(names, _BLOCK)):
        yield from block


def _rows(path: Path, column: str | None, folder: str) -> Iterator[InputImage]:
    files = lookup.on_disk()

    def is_file(name: str) -> bool:
        return bool(files.find(folder, name).path)

    known = [column, "label"] if column else ["image", "label", *_USUAL_COLUMNS]
    table = read_table(path, path, known, is_file)
    if table.bare:
        warn(table.note)
    top = next(table.rows(), None)
    if top is None:
        raise UserError(f"{path} has no rows: fill it, or name another table.")
    place = table.column(column, "--image-column") if column else _place(table, top, is_file)
    said = {""}
    for row in table.rows():
        name = row.cell(place)
        match = files.find(folder, name) if name else lookup.Match(problem="names no image")
        if match.difference not in said:
            said.add(match.difference)
            warn(
                f"{path}: names and files differ in {match.difference} "
                f"({short(name)} is {match.path})"
            )
        where = match.path or os.path.join(folder, name)  # noqa: PTH118
        problem = f"it {match.problem}" if match.problem else ""
        if match.problem == lookup.ABSENT:
            problem = f"it is not in {folder or '.'} (--image-folder names another folder)"
        yield InputImage(name or f"row {row.line}", where, problem, listed=True)


def _place(table: Table, top: Row, is_file: Callable[[str], bool]) -> int:
    """The column that names files, by its own name or by what its first cell holds."""
    usual = [place for name in _USUAL_COLUMNS for place in table.places(name)]
    plain = image_columns(top.cells)
    places = [*usual, *plain] if len(plain) == 1 else usual
    places = [place for place in places if is_file(top.cell(place))] or places
    if not places and len(table.header) > 1:
        found = first(table.header, shown=20)
        raise UserError(
            f"{table.path} has no column that is known to name files: name one of {found} with "
            "--image-column."
        )
    return places[0] if places else 0
