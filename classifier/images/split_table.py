"""data/splits/split.csv: the split of every image."""

from pathlib import Path

import numpy as np

from classifier.core.csv_files import read_chunks, row_writer
from classifier.core.errors import UserError
from classifier.core.types import TextArray
from classifier.images.manifest import Manifest

SPLITS = ("train", "val", "test", "unlabelled", "excluded")


def write_splits(path: str | Path, manifest: Manifest, splits: TextArray) -> None:
    """Write a table of id and split, in the order of the manifest."""
    with row_writer(path, ["id", "split"]) as write:
        write(zip(manifest.id, splits, strict=True))


def read_splits(path: str | Path, manifest: Manifest) -> TextArray:
    """Read the split of each image: [N], in the order of the manifest.

    Raises:
        UserError: the table is missing or damaged, or is not about the manifest's images.
    """
    ids, splits = [], []
    for table in read_chunks(path, "split", {"id": str, "split": str}):
        unknown = table[~table["split"].isin(SPLITS)]
        if len(unknown):
            name, split = unknown.iloc[0]
            raise UserError(
                f"{path} puts {name} into {split!r}, which is no split: run dvc repro split."
            )
        ids.append(table["id"].to_numpy(manifest.id.dtype))
        splits.append(table["split"].to_numpy(np.str_))
    found = np.concatenate(ids)
    order = np.argsort(found, kind="stable")
    if not np.array_equal(found[order], manifest.id):
        raise UserError(f"{path} is about other images than the manifest: run dvc repro split.")
    return np.concatenate(splits)[order]
