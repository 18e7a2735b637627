"""Which pictures a command line means: files, folders, patterns, tables, one after the other.

Nothing is collected: a folder of a million files costs no more memory than one of a thousand.
"""

import csv
import glob
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

from classifier.errors import UserError
from classifier.images import EXTENSIONS

TABLES = (".csv", ".tsv")
_BLOCK = 65_536  # names of one folder that are sorted together
_USUAL_COLUMNS = ("image", "id", "image_id", "filename", "file", "file_name", "path", "name")


class Picture(NamedTuple):
    """A picture to predict: what the user calls it, and its file."""

    name: str
    path: str


def pictures(
    paths: Sequence[str], column: str | None = None, folder: str | None = None
) -> Iterator[Picture]:
    """Yield the pictures that ``paths`` mean, in a lasting order.

    A file is taken whatever its name; a folder is searched with all its folders for files with a
    picture's extension (by name; in blocks of 65,536 where one folder holds more); a pattern is
    filled in (``**`` means any folders); a table (.csv or .tsv, with a header) names one picture a
    row, its extension may be left out.

    Args:
        paths: what the user gave.
        column: of a table, that holds the names; None for the usual ones, or the only one.
        folder: that a table's names start from; None for the table's own.

    Raises:
        UserError: a path that is not there, a folder or pattern without pictures, or a table
            without such a column. Where it can be known at once, before the first picture.
    """
    for path in paths:
        if not os.path.exists(path) and not glob.has_magic(path):  # noqa: PTH110
            raise UserError(f"{path} does not exist: check the path.")
    for path in paths:
        yield from _meant(path, column, folder)


def _meant(path: str, column: str | None, folder: str | None) -> Iterator[Picture]:
    if os.path.isdir(path):  # noqa: PTH112
        found = _search(path)
        advice = "name another folder"
    elif os.path.exists(path):  # noqa: PTH110
        if Path(path).suffix.lower() in TABLES:
            yield from _rows(Path(path), column, Path(folder) if folder else Path(path).parent)
        else:
            yield Picture(path, path)
        return
    else:
        matches = _sorted(glob.iglob(path, recursive=True))  # noqa: PTH207
        found = (Picture(name, name) for name in matches if _is_picture(name))
        advice = "check the pattern"
    first = next(found, None)
    if first is None:
        raise UserError(f"{path}: no pictures there ({', '.join(sorted(EXTENSIONS))}): {advice}.")
    yield first
    yield from found


def _is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in EXTENSIONS and os.path.isfile(path)  # noqa: PTH113,PTH122


def _search(folder: str) -> Iterator[Picture]:
    with os.scandir(folder) as entries:
        # A folder's name with a slash sorts among the files as its pictures' paths do.
        names = (f"{e.path}/" if e.is_dir(follow_symlinks=False) else e.path for e in entries)
        for path in _sorted(names):
            if path.endswith("/"):
                yield from _search(path[:-1])
            elif os.path.splitext(path)[1].lower() in EXTENSIONS:  # noqa: PTH122
                yield Picture(path, path)


def _sorted(names: Iterator[str]) -> Iterator[str]:
    while block := sorted(islice(names, _BLOCK)):
        yield from block


def _rows(table: Path, column: str | None, folder: Path) -> Iterator[Picture]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as text:
            cells = csv.reader(text, delimiter=_delimiter(text))
            header = [cell.strip() for cell in next(cells, [])]
            place = _place(table, header, column)
            empty = True
            for row in cells:
                if row:
                    empty = False
                    name = row[place].strip() if place < len(row) else ""
                    yield Picture(name or f"row {cells.line_num}", _file(folder, name))
    except UnicodeDecodeError:
        raise UserError(f"{table} is not UTF-8 text: save the table as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{table} cannot be read as a table ({error}): mend it.") from None
    if empty:
        raise UserError(f"{table} has no rows: fill it, or name another table.")


def _delimiter(text: TextIO) -> str:
    delimiter = max(",;\t", key=text.readline().count)
    text.seek(0)
    return delimiter


def _place(table: Path, header: list[str], column: str | None) -> int:
    if column is None:
        usual = [name for name in _USUAL_COLUMNS if name in header]
        if len(header) == 1 or usual:
            return header.index(usual[0]) if usual else 0
    elif column in header:
        return header.index(column)
    found = ", ".join(header)
    wrong = f"no column {column!r}" if column else "no column that is known to name files"
    raise UserError(f"{table} has {wrong}: name one of {found} with --image-column.")


def _file(folder: Path, name: str) -> str:
    """The file of a name that may lack its extension; the bare path if there is none."""
    path = os.path.join(folder, name)  # noqa: PTH118
    if os.path.isfile(path):  # noqa: PTH113
        return path
    return next((path + end for end in _COMMON_FIRST if os.path.isfile(path + end)), path)  # noqa: PTH113


_COMMON_FIRST = (".jpg", ".png", *sorted(EXTENSIONS - {".jpg", ".png"}))
