"""Pictures named by a table: one row a picture, with the columns that the user points to.

The table is CSV (comma, semicolon or tab) in UTF-8 with a header row. A second table may name an
official test set; without a label column, or with empty labels, its pictures are unlabelled.
"""

import csv
import difflib
import io
import os
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from classifier.errors import UserError
from classifier.images import EXTENSIONS
from classifier.sources.listing import About, Files, Item, Listing, Span, read
from classifier.sources.naming import suffix

# From this many rows on, one label for all of them is taken for a placeholder.
_TEMPLATE_ROWS = 10


@dataclass(frozen=True)
class Columns:
    """The names of the columns that hold the file name, the class and, if any, the group."""

    image: str
    label: str
    group: str | None = None


class _Row(NamedTuple):
    line: int
    image: str
    label: str
    group: str


def check_root(root: Path) -> None:
    """Refuse a table in the place of its folder."""
    if root.is_file():
        raise UserError(
            f"download.path: {root} is a table: set download.path to its folder {root.parent} and "
            f"download.table to {root.name}, so that DVC tracks the pictures as well."
        )


def listing(
    files: Files,
    root: Path,
    columns: Columns,
    *,
    table: str,
    test_table: str | None = None,
    image_folder: str | None = None,
    test_image_folder: str | None = None,
    name: str = "csv",
) -> Listing:
    """List the pictures that a table names; ids are the names as they stand there.

    A name is a path below the image folder; its extension may be left out (``7`` finds
    ``7.png``). Where both tables use the same name for different pictures, the test's ids start
    with ``test/``. Classes are the sorted labels of the first table.

    Args:
        files: the files by their paths below the root, the tables among them.
        root: what to call the root in messages.
        columns: which columns to read.
        table: path of the table.
        test_table: path of the official test set's table, or None.
        image_folder: folder that the names start from; None for the table's own folder.
        test_image_folder: the same for the test table; None for what holds for the first.
        name: of the source, for source.json.

    Raises:
        UserError: a table, column or picture is missing, a name stands twice, a training row has
            no label, there is one class only, or the test has a class that training lacks.
    """
    lookup = _Lookup(files, root)
    rows = _read(files, root, table, columns, "download.table", labelled=True)
    classes = tuple(sorted({row.label for row in rows}))
    if len(classes) < 2:
        raise UserError(
            f"{root / table}: column {columns.label!r} holds one class only ({classes[0]!r}); a "
            "classifier needs at least two."
        )
    base = image_folder if image_folder is not None else posixpath.dirname(table)
    items = _items(rows, root / table, lookup, base, "train" if test_table else "")
    if test_table:
        test_rows = _read(files, root, test_table, columns, "download.test_table", labelled=False)
        _check_test_labels(test_rows, root / test_table, columns, classes)
        chosen = test_image_folder if test_image_folder is not None else image_folder
        test_base = chosen if chosen is not None else posixpath.dirname(test_table)
        tested = _items(test_rows, root / test_table, lookup, test_base, "test")
        items += _apart(items, tested, root / table)
    items.sort(key=lambda item: item.id)
    about = About(name, f"pictures named in {table} ({len(classes)} classes)")
    return Listing(about, classes, items, len(items))


def _read(
    files: Files, root: Path, table: str, columns: Columns, key: str, *, labelled: bool
) -> list[_Row]:
    path = root / table
    if table not in files:
        raise UserError(f"{key}: the table {path} does not exist.")
    try:
        text = io.StringIO(read(files[table]).decode("utf-8-sig"), newline="")
        delimiter = max(",;\t", key=text.readline().count)
        text.seek(0)
        cells = csv.reader(text, delimiter=delimiter)
        header = [cell.strip() for cell in next(cells, [])]
        image = _column(path, header, columns.image, "download.image_column")
        label = group = None
        if labelled or columns.label in header:
            label = _column(path, header, columns.label, "download.label_column")
        if columns.group:
            group = _column(path, header, columns.group, "download.group_column")
        rows = [
            _Row(cells.line_num, _cell(row, image), _cell(row, label), _cell(row, group))
            for row in cells
            if row
        ]
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: save the table as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as a table ({error}): mend it.") from None
    if not rows:
        raise UserError(f"{path} has no rows: fill it or name another table in {key}.")
    _check_rows(path, rows, columns, labelled=labelled)
    return rows


def _cell(row: list[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


def _column(path: Path, header: list[str], name: str, key: str) -> int:
    if name not in header:
        near = difflib.get_close_matches(name, header, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        found = ", ".join(repr(cell) for cell in header)
        raise UserError(f"{path} has no column {name!r}{hint}; it has {found}: set {key}.")
    return header.index(name)


def _check_rows(path: Path, rows: list[_Row], columns: Columns, *, labelled: bool) -> None:
    seen: dict[str, int] = {}
    twice: list[str] = []
    for row in rows:
        if not row.image:
            raise UserError(f"{path}: row {row.line} has nothing in column {columns.image!r}.")
        if labelled and not row.label:
            raise UserError(
                f"{path}: row {row.line} ({row.image}) has no label; remove the row, or name "
                "pictures without labels in download.test_table."
            )
        if row.image in seen:
            twice.append(f"{row.image!r} in rows {seen[row.image]} and {row.line}")
        seen.setdefault(row.image, row.line)
    if twice:
        raise UserError(
            f"{path}: column {columns.image!r} has duplicates, {_first(twice)}: keep one row each."
        )


def _check_test_labels(
    rows: list[_Row], path: Path, columns: Columns, classes: tuple[str, ...]
) -> None:
    labels = {row.label for row in rows}
    if unknown := sorted(labels - {*classes, ""}):
        raise UserError(
            f"{path}: class {unknown[0]!r} is not among the training table's classes: add "
            "training pictures of it or remove its rows."
        )
    if len(labels) == 1 and "" not in labels and len(rows) >= _TEMPLATE_ROWS:
        raise UserError(
            f"{path}: all {len(rows):,} rows have the label {rows[0].label!r}, as in a template "
            f"for submissions: remove the column {columns.label!r} if the labels are not real."
        )


def _items(rows: list[_Row], table: Path, lookup: "_Lookup", base: str, origin: str) -> list[Item]:
    missing: list[str] = []
    items: list[Item] = []
    for row in rows:
        file = lookup.find(base, row, table)
        if file is None:
            missing.append(row.image)
        else:
            items.append(Item(row.image, row.label, origin, row.group, file))
    if missing:
        raise UserError(
            f"{table}: {len(missing):,} of {len(rows):,} rows name a file that is not in "
            f"{lookup.root / base} ({_first(missing)}): add the files, remove the rows, or set "
            "download.image_folder."
        )
    return items


class _Lookup:
    """Finds pictures by name, with or without extension."""

    def __init__(self, files: Files, root: Path) -> None:
        self.root = root
        self._files = files
        self._stems: dict[str, list[str]] = {}
        for path in sorted(files):
            if suffix(path) in EXTENSIONS:
                self._stems.setdefault(posixpath.splitext(path)[0], []).append(path)

    def find(self, base: str, row: _Row, table: Path) -> Path | Span | None:
        name = row.image.replace("\\", "/")
        if name.startswith("/"):
            name = os.path.relpath(name, self.root.absolute() / base).replace(os.sep, "/")
        path = posixpath.normpath(posixpath.join(base, name))
        if path.startswith("../"):
            raise UserError(
                f"{table}: row {row.line} names {row.image}, which is outside {self.root}, where "
                "DVC would not track it: set download.path to a folder that holds both."
            )
        if path in self._files:
            return self._files[path]
        fits = self._stems.get(path, [])
        if len(fits) > 1:
            raise UserError(
                f"{table}: {row.image} fits {_first(fits)}: write the extension as well."
            )
        return self._files[fits[0]] if fits else None


def _apart(items: list[Item], tested: list[Item], path: Path) -> list[Item]:
    """The test's items with ids that training does not use."""
    trained = {item.id: item.picture for item in items}
    shared = [item for item in tested if item.id in trained]
    for item in shared:
        if trained[item.id] == item.picture:
            raise UserError(
                f"{item.id!r} of the test table is a picture that {path} names too: remove one of "
                "the rows."
            )
    if not shared:
        return tested
    return [item._replace(id=f"test/{item.id}") for item in tested]


def _first(names: Iterable[str], shown: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
