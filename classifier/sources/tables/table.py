"""Images named by tables: one row an image, with the columns that the user points to.

Further tables may name an official validation or test set, or a column of the first one may divide
it. Test images without a label are unlabelled.
"""

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from classifier.core.errors import UserError
from classifier.core.wording import first, quoted, short
from classifier.sources.classes import difference, same_but_for_spelling
from classifier.sources.naming import suffix
from classifier.sources.source_index import About, Files, Item, Listing
from classifier.sources.tables.columns import (
    AUTO,
    flag_columns,
    label,
    label_columns,
    split_column,
    split_of,
)
from classifier.sources.tables.row_files import RowFiles
from classifier.sources.tables.rows import TABLES, Table, read_table

# From this many rows on, one label for all of them is taken for a placeholder.
_TEMPLATE_ROWS = 10


@dataclass(frozen=True)
class Columns:
    """The names of the columns that hold the file name, the class and, if any, the group and the
    split; `AUTO` finds the split column by what it holds."""

    image: str
    label: str
    group: str | None = None
    split: str | None = AUTO


class Part(NamedTuple):
    """One of the tables: its path below the root, and the folder that its names start from; None
    for its own."""

    table: str
    folder: str | None = None


class _Row(NamedTuple):
    line: int
    image: str
    label: str
    group: str
    origin: str


def check_root(root: Path) -> None:
    """Refuse a table in the place of its folder."""
    if root.is_file():
        raise UserError(
            f"download.path: {root} is a table: set download.path to its folder {root.parent} and "
            f"download.table to {root.name}, so that DVC tracks the images as well."
        )


def listing(
    files: Files, root: Path, columns: Columns, parts: Mapping[str, Part], name: str = "csv"
) -> Listing:
    """List the images that tables name; ids are the names as they stand there.

    A name is a path below its folder; `Lookup` says how far it may differ from the file's. Where a
    further table has an id that an earlier one has for another image, its ids start with
    ``val/`` or ``test/``. Classes are the sorted labels of the training rows.

    Args:
        files: the files by their paths below the root, the tables among them.
        root: what to call the root in messages.
        columns: which columns to read.
        parts: the tables by what they are for: train, and perhaps val and test.
        name: of the source, for source.json.

    Raises:
        UserError: a table, column or image is missing, an image stands twice, a row for
            training or validation has no label, there is one class only, or a class that training
            lacks.
    """
    notes: list[str] = []
    row_files = RowFiles(files, root, notes)
    classes: tuple[str, ...] = ()
    items: list[Item] = []
    for origin in ("train", "val", "test"):
        if origin not in parts:
            continue
        place, folder = parts[origin]
        base = posixpath.dirname(place) if folder is None else folder.replace("\\", "/")
        table = _open(files, root, origin, place, columns, partial(row_files.has, base))
        notes += [table.note] if table.bare else []
        rows = _rows(table, origin, columns, classes, notes)
        classes = classes or _classes(rows, table.path)
        _check_labels(rows, origin, table.path, classes)
        found = row_files.find(
            table.path,
            [(row.line, row.image) for row in rows],
            base,
            "download.image_folder" if origin == "train" else f"download.{origin}_image_folder",
        )
        more = [
            Item(row.image, row.label, row.origin, row.group, file)
            for row, file in zip(rows, found, strict=True)
        ]
        items += _apart(items, more, origin)
    if all(item.origin == "train" for item in items):
        items = [item._replace(origin="") for item in items]
    items.sort(key=lambda item: item.id)
    about = About(name, f"images named in {parts['train'].table} ({len(classes)} classes)")
    return Listing(about, classes, items, len(items), notes=tuple(notes))


def _open(
    files: Files,
    root: Path,
    origin: str,
    name: str,
    columns: Columns,
    is_file: Callable[[str], bool],
) -> Table:
    if name not in files:
        key = "download.table" if origin == "train" else f"download.{origin}_table"
        there = first(file for file in sorted(files) if suffix(file) in TABLES)
        hint = f"; there is {there}" if there else ""
        raise UserError(f"{key}: the table {root / name} does not exist{hint}.")
    return read_table(files[name], root / name, (columns.image, columns.label), is_file)


def _rows(
    table: Table, origin: str, columns: Columns, classes: tuple[str, ...], notes: list[str]
) -> list[_Row]:
    """The rows of a table, each with all that it needs."""
    images = " or ".join(quoted(table.header[column]) for column in table.image_columns)
    hint = f"{images} holds names of images" if images else ""
    image = table.column(columns.image, "download.image_column", hint)
    group = table.column(columns.group, "download.group_column") if columns.group else None
    taken = {image, group, *table.places(columns.label)}
    split = split_column(table, columns.split, taken, notes) if origin == "train" else None
    labels = label_columns(table, columns.label, taken | {split}, classes, notes)
    if not labels and origin != "test":
        flags = len(flag_columns(table, taken | {split})) > 1
        hint = "one-hot columns are read if there are no others beside them" if flags else ""
        table.column(columns.label, "download.label_column", hint)  # there is none, as it says
    rows = []
    for row in table.rows():
        use = origin if split is None else split_of(table, row, split)
        found = _Row(row.line, row.cell(image), label(table, row, labels), row.cell(group), use)
        if not use:
            raise UserError(
                f"{table.path}: row {row.line} has {quoted(row.cell(split))} in column "
                f"{columns.split!r}: write train, val or test."
            )
        if not found.image:
            raise UserError(
                f"{table.path}: row {row.line} has nothing in column {columns.image!r}."
            )
        if not found.label and use != "test":
            raise UserError(
                f"{table.path}: row {row.line} ({short(found.image)}) has no label; remove the "
                "row, or name images without labels in download.test_table."
            )
        rows.append(found)
    if not rows:
        raise UserError(f"{table.path} has no rows: fill it, or name another table.")
    return rows


def _classes(rows: list[_Row], path: Path) -> tuple[str, ...]:
    classes = tuple(sorted({row.label for row in rows if row.origin == "train"}))
    if not classes:
        raise UserError(f"{path} has no row for training: check its split column.")
    if len(classes) < 2:
        raise UserError(
            f"{path} holds one class only ({quoted(classes[0])}); a classifier needs at least two."
        )
    return classes


def _check_labels(rows: list[_Row], origin: str, path: Path, classes: tuple[str, ...]) -> None:
    known = {*classes, ""}
    if unknown := next((row for row in rows if row.label not in known), None):
        near = same_but_for_spelling(unknown.label, classes)
        differ = difference(near, unknown.label)
        hint = f" (but {quoted(near)} is: they differ in {differ} only)" if near else ""
        raise UserError(
            f"{path}: class {quoted(unknown.label)} is not among the training table's classes"
            f"{hint}: add training images of it or mend its rows (such as row {unknown.line})."
        )
    labels = {row.label for row in rows}
    if origin == "test" and len(labels) == 1 and "" not in labels and len(rows) >= _TEMPLATE_ROWS:
        raise UserError(
            f"{path}: all {len(rows):,} rows have the label {quoted(rows[0].label)}, as in a "
            "template for submissions: remove the labels if they are not real."
        )


def _apart(items: list[Item], more: list[Item], origin: str) -> list[Item]:
    """Further items, with ids that the first ones do not have."""
    taken = {item.id for item in items}
    prefix = ""
    while any(prefix + item.id in taken for item in more):
        prefix += f"{origin}/"
    return [item._replace(id=prefix + item.id) for item in more]
