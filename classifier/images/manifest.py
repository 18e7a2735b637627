"""The manifest as arrays: what the stages after download know of the images."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier.core.csv_files import read_chunks
from classifier.core.errors import UserError
from classifier.core.types import BytesArray, Int64Array, IntegerArray, TextArray, UInt64Array
from classifier.images.store import MANIFEST, Record

if TYPE_CHECKING:
    import pandas as pd

_CATEGORIES = ("label", "origin", "group", "mode", "shard")


@dataclass(frozen=True)
class Manifest:
    """The columns of the manifest, of one length and in ascending order of ``id``.

    Some 70 bytes an image besides its id, for there may be millions: texts that repeat are
    categories, in ascending order, and ids are of NumPy's ``StringDType``.
    Plain arrays of texts are taken as well, and brought into these types.

    ``label`` is a class name or "" (unlabelled), ``origin`` what the source said ("train", "val",
    "test" or ""), ``group`` names what must not be divided or is "", ``mode`` is Pillow's mode of
    the file as found, ``content`` a hash of the decoded pixels (hex digits as bytes), ``phash`` 64
    perceptual bits; ``shard``, ``offset`` and ``size`` say where the encoded image lies.
    """

    id: TextArray
    label: "pd.Categorical[str]"
    origin: "pd.Categorical[str]"
    group: "pd.Categorical[str]"
    width: IntegerArray
    height: IntegerArray
    mode: "pd.Categorical[str]"
    content: BytesArray
    phash: UInt64Array
    shard: "pd.Categorical[str]"
    offset: Int64Array
    size: Int64Array

    def __post_init__(self) -> None:
        import pandas as pd

        ids, content = np.asarray(self.id), np.asarray(self.content)
        if not isinstance(ids.dtype, np.dtypes.StringDType):
            object.__setattr__(self, "id", ids.astype(np.dtypes.StringDType()))
        if content.dtype.kind != "S":
            object.__setattr__(self, "content", np.char.encode(content.astype(np.str_), "utf-8"))
        for name in _CATEGORIES:
            if not isinstance(getattr(self, name), pd.Categorical):
                object.__setattr__(self, name, pd.Categorical(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.id)

    def places(self, rows: Int64Array) -> list[tuple[str, str, int, int]]:
        """Id, shard, offset and size of some rows: what reading their images takes."""
        columns = (self.id, self.shard, self.offset, self.size)
        return list(zip(*(column[rows].tolist() for column in columns), strict=True))

    def rows(self, ids: Iterable[str]) -> Int64Array:
        """The row of each id, -1 where there is no such image."""
        # Not np.searchsorted: of NumPy 2.4 it is wrong for StringDType beyond 15 bytes.
        found = ((bisect_left(self.id, name), name) for name in ids)
        return np.fromiter(
            (row if row < len(self) and self.id[row] == name else -1 for row, name in found),
            np.int64,
        )

    @classmethod
    def read(cls, folder: str | Path) -> "Manifest":
        """Read the manifest in ``folder``; UserError when it is missing, damaged or empty."""
        from pandas.api.types import union_categoricals

        path = Path(folder) / MANIFEST
        parts: dict[str, list[Any]] = {name: [] for name in Record._fields}
        for table in read_chunks(path, "download", Record.__annotations__):
            if table.empty:
                raise UserError(f"{path} names no image: check download.path.")
            for name, kept in parts.items():
                kept.append(_compact(table[name], path))
        columns: dict[str, Any] = {
            name: union_categoricals(parts.pop(name), sort_categories=True)
            if name in _CATEGORIES
            else np.concatenate(parts.pop(name))
            for name in Record._fields
        }
        order = np.argsort(columns["id"], kind="stable")
        # One column after the other, so that the memory never holds all of them twice.
        return cls(**{name: columns.pop(name)[order] for name in Record._fields})


def _compact(column: "pd.Series[Any]", path: Path) -> Any:
    """A column in the type that `Manifest` keeps it in."""
    import pandas as pd

    try:
        if column.name in _CATEGORIES:
            return pd.Categorical(column)
        if column.name == "id":
            return column.to_numpy(np.dtypes.StringDType())
        if column.name == "content":
            return np.array(column.tolist(), np.bytes_)
        if column.name == "phash":
            return np.fromiter((int(bits, 16) for bits in column), np.uint64, len(column))
        return column.to_numpy(np.int32 if column.name in ("width", "height") else np.int64)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged ({error}): run dvc repro download.") from None
