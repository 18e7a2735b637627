"""data/splits/split.csv: the split of every image."""

from pathlib import Path

import numpy as np

from classifier.core.csv_files import read_table, write_table
from classifier.core.errors import UserError
from classifier.core.types import TextArray
from classifier.images.manifest import Manifest

SPLITS = ("train", "val", "test", "unlabelled", "excluded")


def write_splits(path: str | Path, manifest: Manifest, splits: TextArray) -> None:
    """Write a table of id and split, in the order of the manifest."""
    write_table(path, {"id": manifest.id, "split": splits})


def read_splits(path: str | Path, manifest: Manifest) -> TextArray:
    """Read the split of each image: [N], in the order of the manifest.

    Raises:
        UserError: the table is missing or damaged, or is not about the manifest's images.
    """
    table = read_table(path, "split", {"id": str, "split": str}).sort_values("id")
    unknown = table[~table["split"].isin(SPLITS)]
    if len(unknown):
        name, split = unknown.iloc[0]
        raise UserError(
            f"{path} puts {name} into {split!r}, which is no split: run dvc repro split."
        )
    if not np.array_equal(table["id"], manifest.id):
        raise UserError(f"{path} is about other images than the manifest: run dvc repro split.")
    return table["split"].to_numpy(np.str_)
