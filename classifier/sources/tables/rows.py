"""Read a table that names images, in whichever shape people have it.

Text with commas, semicolons, tabs, bars or blanks between the cells, or JSON lines; UTF-8 or what
Excel calls Unicode text; with a header row, or without one where the columns explain themselves.
Cells stay the texts that they are: 007, NA and True are labels like any other. The csv module reads
them, not pandas, which accepts text behind a closing quotation mark, takes the first cells for an
index where a first row has more of them than the header, and does not know a row's line.
"""

import codecs
import csv
import difflib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from classifier.core.errors import UserError
from classifier.core.wording import first, quoted
from classifier.images.formats import EXTENSIONS
from classifier.sources.naming import as_text, folded, suffix
from classifier.sources.source_index import Span, read

_JSON = frozenset({".json", ".jsonl", ".ndjson"})
# What is taken for a table where images may be named too; the last few are refused, with a remedy.
TABLES = _JSON | {".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods", ".parquet"}

_BINARY = {b"PK": "a workbook", b"\xd0\xcf\x11\xe0": "a workbook", b"PAR1": "a Parquet file"}
_ENCODINGS = {  # the longer marks first: UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip


class Row(NamedTuple):
    """The line of the file on which a row ends, and its cells without the blanks around them."""

    line: int
    cells: list[str]

    def cell(self, column: int | None) -> str:
        """The cell of a column; empty if the row is too short or there is no such column."""
        return self.cells[column] if column is not None and column < len(self.cells) else ""


@dataclass(frozen=True)
class Table:
    """The columns of a table and its rows.

    ``bare``: the file has no header row, and its columns were given the names that they need.
    """

    path: Path
    header: Sequence[str]
    bare: bool
    _read: Callable[[], Iterator[Row]]

    def rows(self) -> Iterator[Row]:
        """The rows below the header; those without any content are left out.

        Raises:
            UserError: a row is damaged, or has more cells than the header.
        """
        return islice(self._read(), 0 if self.bare else 1, None)

    @property
    def note(self) -> str:
        """What was guessed, if anything."""
        if not self.bare:
            return ""
        cells = zip(next(self.rows()).cells, self.header, strict=False)
        meaning = " and ".join(f"{quoted(cell)} is taken for the {name}" for cell, name in cells)
        return f"{self.path} has no header row: in its first row, {meaning}"

    def places(self, name: str) -> list[int]:
        """The places of the columns called ``name``, or but for letter case and blanks."""
        exact = [place for place, cell in enumerate(self.header) if cell == name]
        return exact or [
            place for place, cell in enumerate(self.header) if folded(cell) == folded(name)
        ]

    def column(self, name: str, setting: str, hint: str = "") -> int:
        """The place of the only column called ``name``.

        Raises:
            UserError: there is none, or more than one; ``setting`` is what the user may set, and
                ``hint`` what helps to find it, if it is known better than by a likeness.
        """
        found = self.places(name)
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{self.path} has {len(found)} columns {name!r}: rename all but one.")
        if self.bare:
            raise _no_header(self.path, next(self.rows()).cells)
        if not hint and (near := difflib.get_close_matches(name, self.header, n=1)):
            hint = f"did you mean {quoted(near[0])}?"
        hint = f" ({hint})" if hint else ""
        there = first(map(quoted, self.header), shown=20)
        raise UserError(f"{self.path} has no column {name!r}{hint}; it has {there}: set {setting}.")

    @property
    def image_columns(self) -> list[int]:
        """The columns whose first cell names an image with its extension."""
        return image_columns(next(self.rows(), Row(0, [])).cells)


def read_table(
    file: Path | Span, path: Path, known: Sequence[str], is_file: Callable[[str], bool]
) -> Table:
    """Read a table file.

    Without a header row, a table of one or two columns is still plain: one names images, the other
    one holds labels.

    Args:
        file: the table.
        path: what to call it in messages; its extension tells JSON.
        known: names that a header may hold; the first two are what the columns of file names and
            of labels are called where there is no header.
        is_file: whether a cell names a file.

    Raises:
        UserError: it is no table that can be read.
    """
    try:
        text = _text(read(file), path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"{path} cannot be read ({reason}): name another table.") from None
    keyed = suffix(path.name) in _JSON
    parse: Callable[[], Iterator[Row]]
    parse = partial(iter, _records(path, text)) if keyed else partial(_parse, path, text)
    top = next(parse(), Row(0, [])).cells
    if not top:
        raise UserError(f"{path} is empty: fill it, or name another table.")
    images = [] if keyed else image_columns(top)
    if not images and not keyed and not {*map(folded, top)} & {*map(folded, known)}:
        images = [column for column, cell in enumerate(top) if cell and is_file(cell)]
    if not images:
        return Table(path, top, False, parse)
    if len(images) > 1 or len(top) > 2:
        raise _no_header(path, top)
    names = [known[column not in images] for column in range(len(top))]
    return Table(path, names, True, parse)


def image_columns(cells: Sequence[str]) -> list[int]:
    """The places of the cells that name an image with its extension."""
    return [column for column, cell in enumerate(cells) if suffix(cell) in EXTENSIONS]


def _text(data: bytes, path: Path) -> str:
    kind = next((name for mark, name in _BINARY.items() if data.startswith(mark)), "")
    if kind:
        raise UserError(
            f"{path} is {kind}, which is not read: save the table as CSV (in Excel: CSV UTF-8) and "
            "name that file."
        )
    encoding = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError:
        raise UserError(
            f"{path} is not UTF-8 text: save the table as UTF-8 (in Excel: CSV UTF-8)."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}: row {line} holds a NUL character: save the table as UTF-8 text.")
    return text


def _parse(path: Path, text: str) -> Iterator[Row]:
    """The rows of delimited text, the header among them."""
    stream = io.StringIO(text, newline="")
    marked = re.match(r'"?sep=(.)"?\s*$', stream.readline())  # a line that Excel writes
    if not marked:
        stream.seek(0)
    delimiter = marked[1] if marked else _delimiter(text)
    reader = csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True)
    width = 0
    try:
        for cells in reader:
            row = Row(reader.line_num + bool(marked), [cell.strip() for cell in cells])
            if not any(row.cells):
                continue
            width = width or len(cells)
            if any(row.cells[width:]):
                raise UserError(
                    f"{path}: row {row.line} has {len(cells)} cells where the first row has "
                    f"{width}: put a cell that holds {delimiter!r} into quotation marks."
                )
            yield row
    except csv.Error as error:
        raise UserError(
            f"{path}: row {reader.line_num + bool(marked)} cannot be read ({error}): mend it, its "
            "quotation marks above all."
        ) from None


def _delimiter(text: str) -> str:
    """What separates the cells; a blank only behind the name of an image."""
    lines = (line for line in io.StringIO(text, newline=None) if line.strip())
    top = list(islice(lines, 2)) or [""]
    unquoted = re.sub('"[^"]*"', "", top[0])
    best = max(",;\t|", key=unquoted.count)
    if best not in unquoted and any(image_columns(line.split()[:-1]) for line in top):
        return " "
    return best


def _records(path: Path, text: str) -> list[Row]:
    """JSON objects, one a line or all in one list, as rows below a header of their keys.

    Keys that hold lists or objects make no column.
    """
    decode = json.JSONDecoder(parse_int=str, parse_float=str).decode
    found: list[tuple[int, dict[str, Any]]] = []
    line = 1
    try:
        whole = decode(text) if text.lstrip().startswith("[") else None
        for line, content in enumerate(whole or text.split("\n"), 1):
            if content and not str(content).isspace():
                record = content if whole else decode(content)
                found.append((line, dict(record.items())))
    except (ValueError, AttributeError, RecursionError):
        raise UserError(
            f"{path}: row {line} is not a JSON object with a key for each column: write "
            'one a line, such as {"image": "1.png", "label": "cat"}, or save the table as CSV.'
        ) from None
    columns = dict.fromkeys(key for _, record in found for key in record)
    for _, record in found:
        for key in [key for key, value in record.items() if isinstance(value, list | dict)]:
            columns.pop(key, None)
    rows = [Row(line, [_plain(record.get(key)) for key in columns]) for line, record in found]
    rows = [Row(1, list(columns)), *rows]
    for row in rows:
        if any("\0" in cell or as_text(cell) != cell for cell in row.cells):  # JSON escapes both
            raise UserError(
                f"{path}: row {row.line} holds a NUL or surrogate character: remove it."
            )
    return rows


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)


def _no_header(path: Path, cells: Sequence[str]) -> UserError:
    return UserError(
        f"{path} has no header row (its first row is {first(map(quoted, cells))}): put a row above "
        "it that names the columns, such as image,label."
    )
