"""The manifest as arrays: what the stages after download know of the images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier.core.csv_files import read_table
from classifier.core.errors import UserError
from classifier.core.types import AnyArray, Int64Array, TextArray, UInt64Array
from classifier.images.store import MANIFEST, Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Manifest:
    """The columns of the manifest as arrays of one length, in ascending order of ``id``.

    ``label`` is a class name or "" (unlabelled), ``origin`` what the source said ("train", "val",
    "test" or ""), ``group`` names what must not be divided or is "", ``mode`` is Pillow's mode of
    the file as found, ``content`` a hash of the decoded pixels, ``phash`` 64 perceptual bits;
    ``shard``, ``offset`` and ``size`` say where the encoded image lies.
    """

    id: TextArray
    label: TextArray
    origin: TextArray
    group: TextArray
    width: Int64Array
    height: Int64Array
    mode: TextArray
    content: TextArray
    phash: UInt64Array
    shard: TextArray
    offset: Int64Array
    size: Int64Array

    def __len__(self) -> int:
        return len(self.id)

    def places(self, rows: Int64Array) -> list[tuple[str, str, int, int]]:
        """Id, shard, offset and size of some rows: what reading their images takes."""
        columns = (self.id, self.shard, self.offset, self.size)
        return list(zip(*(column[rows].tolist() for column in columns), strict=True))

    @classmethod
    def read(cls, folder: str | Path) -> "Manifest":
        """Read the manifest in ``folder``; UserError when it is missing, damaged or empty."""
        table = read_table(Path(folder) / MANIFEST, "download", Record.__annotations__)
        if table.empty:
            raise UserError(f"{folder}/{MANIFEST} names no image: check download.path.")
        order = np.argsort(table["id"].to_numpy(np.str_), kind="stable")
        # One column after the other, so that the memory never holds all of them twice.
        return cls(**{name: _array(table.pop(name))[order] for name in Record._fields})


def _array(column: "pd.Series[Any]") -> AnyArray:
    if column.name == "phash":
        return np.fromiter((int(bits, 16) for bits in column), np.uint64, len(column))
    return column.to_numpy(np.int64 if column.dtype == np.int64 else np.str_)
