"""What preprocess wrote: arrays, labels and ids of each split, and the facts of the data."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from classifier.core.arrays import read_array
from classifier.core.csv_files import read_chunks
from classifier.core.errors import UserError
from classifier.core.files import read_json
from classifier.core.resize import resize_in
from classifier.core.types import AnyArray, Int64Array
from classifier.dataset.encoded_images import EncodedImages
from classifier.dataset.stored_images import StoredImages

PREPARED_SPLITS = ("train", "val", "test", "unlabelled")


@dataclass(frozen=True)
class PreparedData:
    """What ``prepare`` wrote: arrays, labels and ids of each split, and the facts of the data.

    ``meta`` has ``classes`` (names in label order), ``channels`` (1 or 3), ``image_size`` (pixels),
    ``resize`` (for `resize_in`), ``normalize``, ``mean`` and ``std`` (per channel, of the train
    split, on the 0..1 scale) and ``counts`` (images in each split). Of a set with images of more
    than 8 bits a channel there is also ``value_range``: by kind (integer, float) the values of the
    train split that become 0 and 255. Where the images are encoded there is also ``encoded``:
    ``size`` (of their shorter sides, at most), ``quality`` and ``rows_in_part``.
    """

    folder: Path
    meta: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> "PreparedData":
        """Open a folder; UserError when it was not prepared."""
        if not (meta := Path(folder) / "meta.json").exists():
            raise UserError(f"{folder} has no prepared data: run dvc repro preprocess.")
        return cls(Path(folder), read_json(meta, "preprocess"))

    @property
    def classes(self) -> list[str]:
        """Class names; a label is an index into them."""
        return list(self.meta["classes"])

    @property
    def splits(self) -> list[str]:
        """The splits that hold images, out of train, val, test and unlabelled."""
        return [name for name in PREPARED_SPLITS if self.meta["counts"].get(name)]

    def images(self, split: str) -> StoredImages:
        """[N, H, W, C] uint8, read when indexed; UserError when a file is missing or damaged."""
        images = self._encoded(split) if "encoded" in self.meta else self._arrays(split)
        if len(images) != self.meta["counts"][split]:
            raise UserError(
                f"{self.folder} has {len(images):,} of {self.meta['counts'][split]:,} images of"
                f" {split}: run dvc repro preprocess."
            )
        return images

    def _arrays(self, split: str) -> StoredImages:
        whole = self.folder / f"{split}.npy"
        parts = [] if whole.exists() else sorted(self.folder.glob(f"{split}-*.npy"))
        return StoredImages(*(parts or [whole]))

    def _encoded(self, split: str) -> EncodedImages:
        meta = self.meta
        rows = meta["encoded"]["rows_in_part"]
        return EncodedImages(
            self.folder, split, rows, meta["image_size"], meta["channels"], resize_in(meta)
        )

    def labels(self, split: str) -> Int64Array:
        """[N] class indices."""
        return read_array(self.folder / f"{split}_labels.npy", "preprocess")

    def ids(self, split: str, rows: slice | Int64Array = slice(None)) -> list[str]:
        """Ids of some rows, in their order; of all [N] by default."""
        return self._index["id"][self._index["split"] == split][rows].tolist()

    def sizes(self, split: str) -> Int64Array:
        """[N, 2] width and height of the images before resizing, in pixels."""
        rows = self._index["split"] == split
        sides = [self._index[side][rows] for side in ("width", "height")]
        return np.stack(sides, axis=1).astype(np.int64)

    @cached_property
    def _index(self) -> dict[str, AnyArray]:
        """The columns that are read of index.csv, in types that millions of rows fit in."""
        types = {"id": str, "split": str, "width": int, "height": int}
        kept: dict[str, Any] = {
            "id": np.dtypes.StringDType(),
            "split": "<U10",
            "width": "i4",
            "height": "i4",
        }
        tables = read_chunks(self.folder / "index.csv", "preprocess", types)
        parts = [[table[name].to_numpy(kind) for name, kind in kept.items()] for table in tables]
        return dict(zip(kept, map(np.concatenate, zip(*parts, strict=True)), strict=True))
