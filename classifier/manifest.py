"""The manifest as arrays: what the stages after download know of the pictures."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classifier.errors import UserError
from classifier.store import MANIFEST, Record

Text = npt.NDArray[np.str_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Manifest:
    """The columns of the manifest as arrays of one length, in ascending order of ``id``.

    ``label`` is a class name or "" (unlabelled), ``origin`` what the source said ("train", "val",
    "test" or ""), ``group`` names what must not be divided or is "", ``mode`` is Pillow's mode of
    the file as found, ``content`` a hash of the decoded pixels, ``phash`` 64 perceptual bits;
    ``shard``, ``offset`` and ``size`` say where the encoded picture lies.
    """

    id: Text
    label: Text
    origin: Text
    group: Text
    width: Integers
    height: Integers
    mode: Text
    content: Text
    phash: npt.NDArray[np.uint64]
    shard: Text
    offset: Integers
    size: Integers

    def __len__(self) -> int:
        return len(self.id)

    def places(self, rows: Integers) -> list[tuple[str, str, int, int]]:
        """Id, shard, offset and size of some rows: what reading their images takes."""
        columns = (self.id, self.shard, self.offset, self.size)
        return list(zip(*(column[rows].tolist() for column in columns), strict=True))

    @classmethod
    def read(cls, folder: str | Path) -> "Manifest":
        """Read the manifest in ``folder``; UserError when it is missing or holds no picture."""
        try:
            with (Path(folder) / MANIFEST).open(encoding="utf-8", newline="") as file:
                rows = [Record._make(row) for row in list(csv.reader(file))[1:]]
        except FileNotFoundError:
            raise UserError(f"{folder} has no {MANIFEST}: run dvc repro download.") from None
        if not rows:
            raise UserError(f"{folder}/{MANIFEST} names no picture: check download.path.")
        rows.sort(key=lambda record: record.id)
        columns = dict(zip(Record._fields, zip(*rows, strict=True), strict=True))

        def text(name: str) -> Text:
            return np.array(columns[name], np.str_)

        def integers(name: str) -> Integers:
            return np.array(columns[name], np.int64)

        return cls(
            id=text("id"),
            label=text("label"),
            origin=text("origin"),
            group=text("group"),
            width=integers("width"),
            height=integers("height"),
            mode=text("mode"),
            content=text("content"),
            phash=np.array([int(bits, 16) for bits in columns["phash"]], np.uint64),
            shard=text("shard"),
            offset=integers("offset"),
            size=integers("size"),
        )
