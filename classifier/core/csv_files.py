"""The project's own tables: CSV in UTF-8, with Unix line ends, whole or not at all.

Text stays the text that it is, be it 007, nan or true, with commas, quotation marks or line breaks.
Tables of users have other rules: ``classifier.sources.tables.rows``.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.core.files import made_by, replacing

# pandas is imported where it is used: the worker processes of download import this module too.
if TYPE_CHECKING:
    import pandas as pd

_GAPS = ["", "nan"]  # how a float that is not defined is written


class _Stream(io.TextIOWrapper):
    r"""Ends rows with "\n". They come with "\r\n", for csv quotes "\r" in a cell only then."""

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


@contextmanager
def _stream(path: str | Path) -> Iterator[_Stream]:
    with replacing(path) as temporary, _Stream(temporary.open("wb"), "utf-8", newline="") as file:
        yield file


@contextmanager
def row_writer(
    path: str | Path, columns: Sequence[str]
) -> Iterator[Callable[[Iterable[Sequence[object]]], object]]:
    """Yield a function that appends rows of cells, for tables that are larger than the memory.

    Numbers are written with all their digits.
    """
    with _stream(path) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        yield writer.writerows


def write_table(
    path: str | Path, table: "pd.DataFrame | Mapping[str, Any] | Sequence[Any]", missing: str = ""
) -> None:
    """Write columns, or rows as mappings; floats have 6 significant digits.

    ``missing`` stands for nan. In a table that ``dvc plots`` draws as lines it has to be "nan",
    which leaves a gap where an empty cell would be drawn as 0.
    """
    import pandas as pd

    with _stream(path) as file:
        pd.DataFrame(table).to_csv(
            file, index=False, lineterminator="\r\n", float_format="%.6g", na_rep=missing
        )


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
        table = reader.read(rows)
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
                    yield reader.read(rows)
