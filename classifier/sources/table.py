"""Pictures named by a table: one row a picture, with the columns that the user points to.

The table is CSV (comma, semicolon or tab) in UTF-8 with a header row. A second table may name an
official test set; without a label column, or with empty labels, its pictures are unlabelled.
"""

import csv
import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from classifier.errors import UserError
from classifier.images import EXTENSIONS
from classifier.sources.listing import About, Item, Listing

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


def listing(
    root: Path,
    columns: Columns,
    *,
    table: str,
    test_table: str | None = None,
    image_folder: str | None = None,
    test_image_folder: str | None = None,
    name: str = "csv",
) -> Listing:
    """List the pictures that a table below ``root`` names; ids are the names as they stand there.

    A name is a path below the image folder; its extension may be left out (``7`` finds
    ``7.png``). Where both tables use the same name for different pictures, the test's ids start
    with ``test/``. Classes are the sorted labels of the first table.

    Args:
        root: the folder that holds the tables and the pictures.
        columns: which columns to read.
        table: file name of the table, relative to ``root``.
        test_table: file name of the official test set's table, relative to ``root``, or None.
        image_folder: folder that the names start from, relative to ``root``; None for the
            table's own folder.
        test_image_folder: the same for the test table; None for what holds for the first.
        name: of the source, for source.json.

    Raises:
        UserError: a table, column or picture is missing, a name stands twice, a training row has
            no label, there is one class only, or the test has a class that training lacks.
    """
    if not root.exists():
        raise UserError(f"download.path: the folder {root} does not exist.")
    if not root.is_dir():
        raise UserError(
            f"download.path: {root} is a table: set download.path to its folder {root.parent} and "
            f"download.table to {root.name}, so that DVC tracks the pictures as well."
        )
    origin = "train" if test_table else ""
    path = root / table
    rows = _read(path, columns, "download.table", labelled=True)
    classes = tuple(sorted({row.label for row in rows}))
    if len(classes) < 2:
        raise UserError(
            f"{path}: column {columns.label!r} holds one class only ({classes[0]!r}); a "
            "classifier needs at least two."
        )
    base = root / image_folder if image_folder is not None else path.parent
    items = _items(rows, path, root, base, origin)
    if test_table:
        test_path = root / test_table
        test_rows = _read(test_path, columns, "download.test_table", labelled=False)
        _check_test_labels(test_rows, test_path, columns, classes)
        chosen = test_image_folder if test_image_folder is not None else image_folder
        test_base = root / chosen if chosen is not None else test_path.parent
        items += _apart(items, _items(test_rows, test_path, root, test_base, "test"), path)
    items.sort(key=lambda item: item.id)
    about = About(name, f"pictures named in {table} ({len(classes)} classes)")
    return Listing(about, classes, items, len(items))


def _read(path: Path, columns: Columns, key: str, *, labelled: bool) -> list[_Row]:
    if not path.is_file():
        raise UserError(f"{key}: the table {path} does not exist.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            delimiter = max(",;\t", key=header_line.count)
            header = [cell.strip() for cell in next(csv.reader([header_line], delimiter=delimiter))]
            table = csv.DictReader(file, header, delimiter=delimiter, restval="")
            image = _column(path, header, columns.image, "download.image_column")
            group = columns.group and _column(path, header, columns.group, "download.group_column")
            label: str | None = columns.label
            if labelled or columns.label in header:
                label = _column(path, header, columns.label, "download.label_column")
            else:
                label = None
            rows = [
                _Row(
                    table.line_num + 1,
                    (row[image] or "").strip(),
                    (row[label] or "").strip() if label else "",
                    (row[group] or "").strip() if group else "",
                )
                for row in table
            ]
    except StopIteration:
        rows, header = [], []
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text: save the table as UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as a table ({error}): mend it.") from None
    if not rows:
        raise UserError(f"{path} has no rows: fill it or name another table in {key}.")
    _check_rows(path, rows, columns, labelled=labelled)
    return rows


def _column(path: Path, header: list[str], name: str, key: str) -> str:
    if name not in header:
        near = difflib.get_close_matches(name, header, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        found = ", ".join(repr(cell) for cell in header)
        raise UserError(f"{path} has no column {name!r}{hint}; it has {found}: set {key}.")
    return name


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


def _items(rows: list[_Row], path: Path, root: Path, base: Path, origin: str) -> list[Item]:
    if not base.is_dir():
        raise UserError(f"download.image_folder: the folder {base} does not exist.")
    lookup = _Lookup()
    inside = root.resolve()
    missing: list[str] = []
    items: list[Item] = []
    for row in rows:
        name = Path(row.image.replace("\\", "/"))
        picture = lookup.find(base, name, path)
        if picture is None:
            missing.append(row.image)
            continue
        wanders = ".." in name.parts or name.is_absolute()
        if wanders and not picture.resolve().is_relative_to(inside):
            raise UserError(
                f"{path}: row {row.line} names {row.image}, which is outside {root}, where DVC "
                "would not track it: set download.path to a folder that holds both."
            )
        items.append(Item(row.image, row.label, origin, row.group, picture))
    if missing:
        raise UserError(
            f"{path}: {len(missing):,} of {len(rows):,} rows name a file that is not in {base} "
            f"({_first(missing)}): add the files, remove the rows, or set download.image_folder."
        )
    return items


class _Lookup:
    """Finds pictures by name, with or without extension, reading each folder once."""

    def __init__(self) -> None:
        self._folders: dict[Path, tuple[frozenset[str], dict[str, list[str]]]] = {}

    def find(self, base: Path, name: Path, table: Path) -> Path | None:
        folder = base / name.parent
        if folder not in self._folders:
            self._folders[folder] = self._read(folder)
        names, stems = self._folders[folder]
        if name.name in names:
            return folder / name.name
        fits = stems.get(name.name, [])
        if len(fits) > 1:
            raise UserError(f"{table}: {name} fits {_first(fits)}: write the extension as well.")
        return folder / fits[0] if fits else None

    @staticmethod
    def _read(folder: Path) -> tuple[frozenset[str], dict[str, list[str]]]:
        """The names in a folder, and the pictures among them by their names less extension."""
        if not folder.is_dir():
            return frozenset(), {}
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
        stems: dict[str, list[str]] = {}
        for name in names:
            stem, dot, extension = name.rpartition(".")
            if dot and f".{extension.lower()}" in EXTENSIONS:
                stems.setdefault(stem, []).append(name)
        return frozenset(names), stems


def _apart(items: list[Item], tested: list[Item], path: Path) -> list[Item]:
    """The test's items with ids that training does not use."""
    trained = {item.id: item.picture for item in items}
    shared = [item for item in tested if item.id in trained]
    for item in shared:
        if trained[item.id] == item.picture:
            raise UserError(
                f"{item.picture} is named by the test table and by {path}: remove one of the rows."
            )
    if not shared:
        return tested
    return [item._replace(id=f"test/{item.id}") for item in tested]


def _first(names: Iterable[str], shown: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
