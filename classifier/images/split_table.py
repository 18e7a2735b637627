"""data/splits/split.csv: the split of every image, and the labels that corrections changed."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from classifier.core.csv_files import read_chunks, row_writer
from classifier.core.errors import UserError
from classifier.core.types import Int64Array, TextArray
from classifier.images.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test", "unlabelled", "excluded")
CORRECTED = "corrected_label"


def write_splits(
    path: str | Path,
    manifest: Manifest,
    splits: TextArray,
    labels: "pd.Categorical[str] | None" = None,
) -> None:
    """Write a table of id and split, in the order of the manifest.

    ``labels`` [N] are those that hold. Where some are not the manifest's, these are in a column of
    their own, which is empty for the other images.
    """
    columns: dict[str, Iterable[object]] = {"id": manifest.id, "split": splits}
    if labels is not None and (changed := np.asarray(labels != manifest.label)).any():
        columns[CORRECTED] = np.where(changed, np.asarray(labels, object), "")
    with row_writer(path, list(columns)) as write:
        write(zip(*columns.values(), strict=True))


def read_splits(path: str | Path, manifest: Manifest) -> tuple[TextArray, Manifest]:
    """Read the split of each image: [N], in the order of the manifest; and the labels that hold.

    Returns:
        The splits, and the manifest with these labels.

    Raises:
        UserError: the table is missing or damaged, or is not about the manifest's images.
    """
    ids, splits, labels = [], [], []
    for table in read_chunks(path, "split", {"id": str, "split": str}):
        unknown = table[~table["split"].isin(SPLITS)]
        if len(unknown):
            name, split = unknown.iloc[0][["id", "split"]]
            raise UserError(
                f"{path} puts {name} into {split!r}, which is no split: run dvc repro split."
            )
        ids.append(table["id"].to_numpy(manifest.id.dtype))
        splits.append(table["split"].to_numpy(np.str_))
        if CORRECTED in table:
            labels.append(_codes(table[CORRECTED], manifest, path))
    found = np.concatenate(ids)
    order = np.argsort(found, kind="stable")
    if not np.array_equal(found[order], manifest.id):
        raise UserError(f"{path} is about other images than the manifest: run dvc repro split.")
    if labels:
        import pandas as pd

        codes = np.concatenate(labels)[order]
        codes = np.where(codes < 0, manifest.label.codes, codes)
        label = pd.Categorical.from_codes(codes.tolist(), manifest.label.categories)
        manifest = replace(manifest, label=label)
    return np.concatenate(splits)[order], manifest


def _codes(labels: "pd.Series[str]", manifest: Manifest, path: str | Path) -> Int64Array:
    """The numbers of some labels among the manifest's, -1 where a cell is empty."""
    import pandas as pd

    codes = np.asarray(manifest.label.categories.get_indexer(pd.Index(labels)), np.int64)
    empty = np.asarray(labels == "")
    if (unknown := labels[(codes < 0) & ~empty]).size:
        raise UserError(
            f"{path} has the label {unknown.iloc[0]!r}, which is no class: run dvc repro split."
        )
    return np.where(empty, -1, codes)
