"""Images in Parquet files: a row an image, as the Hugging Face Hub keeps data sets.

An image is a column of encoded bytes, or of records with the field `bytes`. Where the files say
what their columns are, as those of the `datasets` library do, the columns and the class names come
from there.
"""

import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from classifier.core.errors import UserError, not_installed
from classifier.core.wording import first, quoted, short
from classifier.sources.naming import split_named, suffix
from classifier.sources.source_index import About, Encoded, Files, Item, Listing, Span

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_ROWS = 64  # read at a time; images of some megabytes each then take some hundred
# The end of the name of one of several files, such as -00000-of-00002 or /0000.
_NUMBER = re.compile(r"(?:^|[-_/])(?:\d+|\d+-of-\d+.*|\d{4,}-.*)$")


class Columns(NamedTuple):
    """The names of the columns that hold the image, the class and, if any, the group."""

    image: str
    label: str
    group: str | None


class _Part(NamedTuple):
    """One file: what users call it, where it lies, the split, and its labels as class names."""

    name: str
    file: Path
    origin: str
    labels: list[str]


def listing(files: Files, root: Path, columns: Columns) -> Listing:
    """List the rows of Parquet files; ids are the split and a number.

    Files whose names or folders stand for splits divide the set. Rows without a class are images
    without a label, which only a test set may have.

    Args:
        files: whole files by their paths below the root.
        root: what to call the root in messages.
        columns: which columns to read; where one is not there, the only column of its kind is.

    Raises:
        UserError: pyarrow is missing, a file is damaged, the files are several data sets, a column
            is missing, a training image has no label, or there is one class only.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise not_installed("pyarrow", "hf")
    tables = {name: _place(files[name]) for name in sorted(files) if suffix(name) == ".parquet"}
    if not tables:
        raise UserError(
            f"{root} holds no Parquet files: check the address; most data sets of the Hub have a "
            "converted copy at @refs%2Fconvert%2Fparquet."
        )
    origins = _origins(tables, root)
    notes: list[str] = []
    with _reading(next(iter(tables))), _open(next(iter(tables.values()))) as table:
        features = _features(table)
        found = _found(table.schema_arrow.names, columns, features, root, notes)
    names = features.get(found.label, {}).get("names") or []
    parts = []
    for name, file in tables.items():
        with _reading(name), _open(file) as table:
            if missing := {found.image, found.label} - {*table.schema_arrow.names}:
                raise UserError(f"{root / name} has no column {first(sorted(missing))}.")
            values = table.read([found.label]).column(found.label).to_pylist()
        parts.append(_Part(name, file, origins[name], _labels(values, names, root / name)))
    classes = _classes(parts, names, root)
    total = sum(len(part.labels) for part in parts)
    about = About("parquet", f"images in Parquet files ({len(classes)} classes)")
    return Listing(about, classes, _items(parts, found), total, notes=tuple(notes))


def _place(file: Path | Span) -> Path:
    return file.path if isinstance(file, Span) else file


@contextmanager
def _open(file: Path) -> Iterator["ParquetFile"]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(file) as table:
        yield table


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what pyarrow raises on damaged files into a sentence."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        reason = short(" ".join(str(error).split()))
        raise UserError(f"{name} cannot be read as Parquet ({reason}): replace it.") from None


def _origins(names: Iterable[str], root: Path) -> dict[str, str]:
    """The split of each file: train, val, test, or "" for all of them.

    What is left of a file's path without its number says which data set and split it belongs to.
    """
    stems = {name: _NUMBER.sub("", name.removesuffix(".parquet")) for name in names}
    splits = {stem: _split(stem) for stem in stems.values()}
    of_split: dict[str, list[str]] = {}
    for stem, split in sorted(splits.items()):
        of_split.setdefault(split, []).append(stem)
    for split, several in of_split.items():
        if len(several) > 1:
            what = f"mean {split}" if split else "name no split"
            raise UserError(
                f"{root} has Parquet files of several sets ({first(several)} {what}): name the "
                "folder or file of one in download.url or download.path."
            )
    if "" in of_split and len(of_split) > 1:
        raise UserError(
            f"{root}: {of_split[''][0]} says neither train, val nor test as others do: move "
            "it away."
        )
    return {name: splits[stem] for name, stem in stems.items()}


def _split(stem: str) -> str:
    """The split that the end of a path stands for."""
    for part in reversed(stem.split("/")):
        split = split_named(part).split
        if split:
            return "test" if split not in ("train", "val") else split
    return ""


def _features(table: "ParquetFile") -> dict[str, dict[str, Any]]:
    """What the `datasets` library says of each column; empty where another program wrote them."""
    metadata = table.schema_arrow.metadata or {}
    try:
        content = json.loads(metadata.get(b"huggingface", b"{}"))
        features = content.get("info", {}).get("features", {})
        return {name: one for name, one in features.items() if isinstance(one, dict)}
    except (ValueError, AttributeError):
        return {}


def _found(
    names: Sequence[str],
    columns: Columns,
    features: Mapping[str, Mapping[str, Any]],
    root: Path,
    notes: list[str],
) -> Columns:
    """The columns as they are called here."""

    def find(name: str, kind: str, key: str) -> str:
        if name in names:
            return name
        fitting = [column for column in names if features.get(column, {}).get("_type") == kind]
        if len(fitting) != 1:
            raise UserError(
                f"{root} has no column {quoted(name)} (download.{key}), but {first(names, 9)}."
            )
        notes.append(f"{root}: took the column {quoted(fitting[0])} for download.{key}")
        return fitting[0]

    if columns.group is not None and columns.group not in names:
        raise UserError(
            f"{root} has no column {quoted(columns.group)} (download.group_column), but "
            f"{first(names, 9)}."
        )
    image = find(columns.image, "Image", "image_column")
    return Columns(image, find(columns.label, "ClassLabel", "label_column"), columns.group)


def _labels(values: Sequence[Any], names: Sequence[str], path: Path) -> list[str]:
    """Class names for the values of a column; empty where there is no class."""
    labels = []
    for row, value in enumerate(values):
        if value is None or value == "" or (names and value == -1):
            labels.append("")
        elif names and isinstance(value, int):
            if not 0 <= value < len(names):
                raise UserError(f"{path}: row {row} has the class {value} of {len(names)}.")
            labels.append(names[value])
        elif isinstance(value, str | int):
            labels.append(str(value))
        else:
            raise UserError(
                f"{path}: row {row} has the label {short(str(value), 50)}, which is no class: set "
                "download.label_column to a column of texts or whole numbers."
            )
    return labels


def _classes(parts: Sequence[_Part], names: Sequence[str], root: Path) -> tuple[str, ...]:
    """The classes of the training images, in the order of the data set, or sorted."""
    found = {label for part in parts if part.origin in ("train", "") for label in part.labels}
    for part in parts:
        if part.origin != "test" and "" in part.labels:
            row = part.labels.index("")
            raise UserError(f"{root / part.name}: row {row} has no label, which training needs.")
        if foreign := {*part.labels} - found - {""}:
            raise UserError(
                f"{root / part.name} has the classes {first(map(quoted, sorted(foreign)))}, which "
                "training lacks."
            )
    if len(found) < 2:
        raise UserError(f"{root} has training images of {len(found)} class: it needs two or more.")
    if names:
        return tuple(name for name in names if name in found)
    return tuple(sorted(found, key=int if all(map(str.isdecimal, found)) else None))


def _items(parts: Sequence[_Part], columns: Columns) -> Iterator[Item]:
    """The rows, read as they are asked for."""
    counts: dict[str, int] = {}
    wanted = [columns.image, *([columns.group] if columns.group else [])]
    for part in parts:
        with _reading(part.name), _open(part.file) as table:
            labels = iter(part.labels)
            for batch in table.iter_batches(_ROWS, columns=wanted):
                images = batch.column(columns.image).to_pylist()
                groups = batch.column(columns.group).to_pylist() if columns.group else images
                for image, group in zip(images, groups, strict=True):
                    number = counts.get(part.origin, 0)
                    counts[part.origin] = number + 1
                    name = f"{part.origin or 'row'}/{number:06d}"
                    group = str(group) if columns.group and group is not None else ""
                    yield Item(name, next(labels), part.origin, group, _encoded(image, name))


def _encoded(image: Any, name: str) -> Encoded:
    """The bytes of an image, and its name with an extension if the row says one."""
    if isinstance(image, dict):
        extension = suffix(str(image.get("path") or ""))
        return Encoded(image.get("bytes") or b"", name + extension)
    return Encoded(image if isinstance(image, bytes) else b"", name)
