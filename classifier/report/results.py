"""What a run left behind, read for its figures, its report and its model card. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import pandas as pd

from classifier.core.arrays import read_array, read_arrays
from classifier.core.csv_files import read_table
from classifier.core.errors import UserError
from classifier.core.files import read_json, sha256
from classifier.core.params import read
from classifier.core.types import AnyArray, FloatArray, Int64Array, UInt8Array
from classifier.dataset.prepared import PreparedData
from classifier.dataset.stored_images import StoredImages

Row = dict[str, Any]
# The stages of the metrics that evaluate does not write.
WRITERS = {"quality": "split", "train": "train"}


@dataclass(frozen=True)
class Folders:
    """Where the stages wrote."""

    raw: Path
    prepared: Path
    predictions: Path
    explain: Path
    metrics: Path
    models: Path
    params: Path


@dataclass(frozen=True)
class Results:
    """The results of one run. What an earlier stage did not write reads as empty."""

    folders: Folders
    data: PreparedData
    params: Mapping[str, Any]

    @classmethod
    def open(cls, folders: Folders) -> "Results":
        """Open the results of a run; UserError when it was not prepared and evaluated."""
        data = PreparedData.open(folders.prepared)
        if not (folders.predictions / "test_logits.npy").exists():
            raise UserError(f"{folders.predictions} has no predictions: run dvc repro evaluate.")
        return cls(folders, data, read(folders.params))

    def metrics(self, name: str) -> dict[str, Any]:
        """Return ``metrics/NAME.json``, {} when it is missing."""
        return _json(self.folders.metrics / f"{name}.json", WRITERS.get(name, "evaluate"))

    def explained(self, name: str, **numbers: type) -> list[Row]:
        """Rows of ``data/explain/NAME.csv``; ``numbers`` are the columns that are no text."""
        return rows(_table(self.folders.explain / f"{name}.csv", "evaluate", numbers))

    def array(self, name: str) -> AnyArray | None:
        """Return ``data/explain/NAME.npy``, memory-mapped; None when it is missing."""
        path = self.folders.explain / f"{name}.npy"
        return read_array(path, "evaluate", mapped=True) if path.exists() else None

    @property
    def explanation(self) -> dict[str, Any]:
        """Return ``data/explain/explain.json``, {} when it is missing."""
        return _json(self.folders.explain / "explain.json", "evaluate")

    @property
    def source(self) -> dict[str, Any]:
        """What the data set says about itself."""
        return _json(self.folders.raw / "source.json", "download")

    @property
    def summary(self) -> dict[str, Any]:
        """The network, layer by layer."""
        return _json(self.folders.models / "summary.json", "train")

    @cached_property
    def augmentation(self) -> dict[str, AnyArray]:
        """What each augmentation does to a few images, as ``augment.preview`` returns it."""
        path = self.folders.models / "augmentation.npz"
        return read_arrays(path, "train") if path.exists() else {}

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """Columns of ``metrics/history.csv``: one value an epoch, nan where there is none."""
        table = _table(self.folders.metrics / "history.csv", "train")
        return table.apply(pd.to_numeric, errors="coerce").astype(float).to_dict("list")

    @cached_property
    def per_class(self) -> pd.DataFrame:
        """``metrics/per_class.csv``: a row a class; scores are nan where they are not defined."""
        types = {"class": str, "support": int}
        table = _table(self.folders.metrics / "per_class.csv", "evaluate", types)
        scores = table.columns.drop([*types])
        table[scores] = table[scores].apply(pd.to_numeric, errors="coerce").astype(float)
        return table

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """``metrics/plots/reliability.csv``: a row a bin, its two counts integers."""
        types = {
            f"{name}{ending}": int if name == "count" else float
            for ending in ("", "_calibrated")
            for name in ("count", "confidence", "accuracy")
        }
        return _table(self.folders.metrics / "plots" / "reliability.csv", "evaluate", types)

    def table(self, name: str) -> pd.DataFrame:
        """``metrics/NAME.csv``, say plots/roc: numbers, but for a column ``class``."""
        table = _table(self.folders.metrics / f"{name}.csv", "evaluate")
        numbers = table.columns.drop("class", errors="ignore")
        table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce").astype(float)
        return table

    @cached_property
    def model(self) -> str:
        """The SHA-256 of the model file that was evaluated; "" where it is not known."""
        path = self.folders.predictions / "embeddings.npz"
        if not path.exists():
            return ""
        with np.load(path, allow_pickle=False) as file:
            return str(file["model"]) if "model" in file else ""

    @cached_property
    def split_digest(self) -> str:
        """The SHA-256 of which image is in which split with which label."""
        return sha256(self.folders.prepared / "index.csv")

    @cached_property
    def embedding(self) -> pd.DataFrame:
        """``data/explain/embedding.csv``: a row a point, at ``x`` and ``y``."""
        types = {"x": float, "y": float}
        return _table(self.folders.explain / "embedding.csv", "evaluate", types)

    @cached_property
    def neighbors(self) -> dict[tuple[str, int], list[tuple[int, str]]]:
        """(split, row) -> row and class of its nearest training images, nearest first."""
        found: dict[tuple[str, int], list[tuple[int, str]]] = {}
        for row in self.explained("neighbors", row=int, place=int, train_row=int, distance=float):
            found.setdefault((row["split"], row["row"]), []).append(
                (row["train_row"], row["label"])
            )
        return found

    @cached_property
    def rejected(self) -> pd.DataFrame:
        """``data/raw/rejected.csv``: id, path and reason of what was no usable image."""
        return _table(self.folders.raw / "rejected.csv", "download")

    @cached_property
    def actual(self) -> Int64Array:
        """[N] class numbers of the test images."""
        return self.data.labels("test")

    @cached_property
    def logits(self) -> FloatArray:
        """[N, K] logits of the test images, memory-mapped."""
        return read_array(self.folders.predictions / "test_logits.npy", "evaluate", mapped=True)

    @cached_property
    def predicted(self) -> Int64Array:
        """[N] predicted class numbers of the test images."""
        return self.logits.argmax(axis=1)

    @cached_property
    def confusion(self) -> Int64Array:
        """[K, K] counts on the test split, rows the actual class, columns the predicted one."""
        number = len(self.data.classes)
        flat = np.bincount(self.actual * number + self.predicted, minlength=number * number)
        return flat.reshape(number, number)

    @cached_property
    def places(self) -> dict[str, tuple[str, int]]:
        """Where the images of the listed pairs of copies are: id -> (split, row)."""
        pairs = chain.from_iterable(self.metrics("quality").get("pairs", {}).values())
        listed = {pair[end] for pair in pairs for end in ("first", "second")}
        return {
            name: (split, row)
            for split in self.data.splits
            for row, name in enumerate(self.data.ids(split))
            if name in listed
        }

    def image(self, split: str, row: int) -> UInt8Array:
        """Return one prepared image, uint8 [H, W, C]."""
        return self._images[split][row]

    @cached_property
    def _images(self) -> dict[str, StoredImages]:
        return {split: self.data.images(split) for split in self.data.splits}


def rows(table: pd.DataFrame) -> list[Row]:
    """The rows of a table, each by the names of its columns."""
    return cast(list[Row], table.to_dict("records"))


def _json(path: Path, stage: str) -> dict[str, Any]:
    return dict(read_json(path, stage)) if path.exists() else {}


def _table(
    path: Path, stage: str, types: Mapping[str, type] = MappingProxyType({})
) -> pd.DataFrame:
    return read_table(path, stage, types) if path.exists() else pd.DataFrame(columns=[*types])
