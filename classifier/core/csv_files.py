"""The project's own tables: CSV in UTF-8, with Unix line ends, whole or not at all.

Text stays the text that it is, be it 007, nan or true, with commas, quotation marks or line breaks.
Names come from strangers, and a spreadsheet runs a cell that begins as a formula: such a text gets
an apostrophe in front, as spreadsheets themselves mark texts, and loses it when it is read here.
Tables of users have other rules: ``classifier.sources.tables.rows``.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.core.files import made_by, replacing

# pandas is imported where it is used: the worker processes of download import this module too.
if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_STARTS = frozenset("'=+-@\t\r\n")  # of what the pattern fits
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_GAPS = ["", "nan"]  # how a float that is not defined is written


class _Stream(io.TextIOWrapper):
    r"""Ends rows with "\n". They come with "\r\n", for csv quotes "\r" in a cell only then."""

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def guarded(text: str) -> str:
    """A text that no spreadsheet runs: with an apostrophe before =, +, -, @, tab or line break.

    Numbers stay as they are. So that `unguarded` gives every text back, one that has apostrophes
    before such a sign gets one more.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _guarded_row(row: Iterable[object]) -> list[object]:
    return [
        guarded(cell) if isinstance(cell, str) and cell[:1] in _STARTS else cell for cell in row
    ]


@contextmanager
def _stream(path: str | Path) -> Iterator[_Stream]:
    with replacing(path) as temporary, _Stream(temporary.open("wb"), "utf-8", newline="") as file:
        yield file


@contextmanager
def row_writer(
    path: str | Path, columns: Sequence[str], exact: bool = False
) -> Iterator[Callable[[Iterable[Iterable[object]]], object]]:
    """Yield a function that appends rows of cells, for tables that are larger than the memory.

    Numbers are written with all their digits. With ``exact``, texts are written as they are, also
    those that a spreadsheet would run: for a table that another program compares by its bytes.
    """
    with _stream(path) as file:
        writer = csv.writer(file)
        writer.writerow(columns if exact else _guarded_row(columns))
        yield writer.writerows if exact else lambda rows: writer.writerows(map(_guarded_row, rows))


def write_table(
    path: str | Path, table: "pd.DataFrame | Mapping[str, Any] | Sequence[Any]", missing: str = ""
) -> None:
    """Write columns, or rows as mappings; floats have 6 significant digits.

    ``missing`` stands for nan. In a table that ``dvc plots`` draws as lines it has to be "nan",
    which leaves a gap where an empty cell would be drawn as 0.
    """
    import pandas as pd

    frame = pd.DataFrame(table).copy(deep=False)
    frame.columns = pd.Index(_guarded_row(frame.columns))
    for name, column in frame.items():
        if not pd.api.types.is_numeric_dtype(column):
            frame[name] = pd.Series(_guarded_row(column), column.index, object)
    with _stream(path) as file:
        frame.to_csv(file, index=False, lineterminator="\r\n", float_format="%.6g", na_rep=missing)


def read_table(path: str | Path, stage: str, types: Mapping[str, type]) -> "pd.DataFrame":
    """Read a table that the pipeline wrote.

    Args:
        path: the file.
        stage: what made it, for the messages.
        types: the columns that it must have, and for each ``str``, ``int`` or ``float`` (nan where
            the cell is empty). Other columns are text. ("category" would make numbers of texts.)

    Raises:
        UserError: it is missing or damaged. The cells that a short row lacks read as empty, which
            in a column of integers is damage.
    """
    (table,) = read_chunks(path, stage, types, None)
    return table


def read_chunks(
    path: str | Path, stage: str, types: Mapping[str, type], rows: int | None = 1 << 16
) -> "Iterator[pd.DataFrame]":
    """As `read_table`, by ``rows`` rows at a time (None: all), and at least one table of none."""
    import pandas as pd

    gaps = {name: _GAPS for name, kind in types.items() if kind is float}
    with (
        made_by(stage, path),
        pd.read_csv(
            path,
            dtype=defaultdict(lambda: str, types),
            keep_default_na=False,
            na_values=gaps,
            float_precision="round_trip",
            iterator=True,
        ) as reader,
    ):
        table = _as_written(reader.read(rows))
        lost = [name for name in types if name not in table.columns]
        if lost:
            raise ValueError(f"it has no column {lost[0]!r}")
        # pandas takes the first cells for an index
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows have more cells than its header")
        yield table
        if rows is not None:
            with suppress(StopIteration):
                while True:
                    yield _as_written(reader.read(rows))


def _as_written(table: "pd.DataFrame") -> "pd.DataFrame":
    """The texts of a table without the apostrophes that `guarded` put there."""
    import pandas as pd

    table.columns = table.columns.map(unguarded)
    for name, column in table.items():
        if not pd.api.types.is_numeric_dtype(column):
            marked = column.str.startswith("'")
            if marked.any():
                table.loc[marked, name] = column[marked].map(unguarded)
    return table
