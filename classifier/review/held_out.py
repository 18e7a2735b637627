"""What networks say about images that they were not trained on: logits that runs left behind."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from classifier.core.csv_files import read_table
from classifier.core.errors import UserError
from classifier.core.files import read_json
from classifier.core.softmax import softmax
from classifier.core.types import Float64Array, FloatArray, Int64Array
from classifier.dataset.prepared import PreparedData
from classifier.images.manifest import Manifest
from classifier.metrics.outcomes import Outcomes
from classifier.models.temperature import fit_temperature

OUT_OF_FOLD, LOGITS = "out_of_fold.csv", "out_of_fold_logits.npy"


@dataclass(frozen=True)
class HeldOut:
    """Logits of one kind of image.

    ``who`` says for people which model it is; ``rows`` int64 [n] of the manifest, ``logits``
    [n, K]; ``labels`` int64 [n] classes, -1 for an image without a label; ``temperature`` was
    fitted to those that have one.
    """

    who: str
    rows: Int64Array
    logits: FloatArray
    labels: Int64Array
    temperature: float

    @property
    def outcomes(self) -> Outcomes:
        """As they are judged."""
        return Outcomes(self.logits, self.labels, self.temperature)


def held_out(
    manifest: Manifest,
    labels: Int64Array,
    data: PreparedData,
    predictions: Path,
    folds: Path | None,
) -> dict[str, HeldOut]:
    """The logits that there are: by "folds", "val", "test" and "unlabelled".

    The model of data/predictions was trained on train, so that of train it knows only the labels
    that it was given. Out-of-fold logits judge train and val by models which were not; then those
    of val are left alone.

    Args:
        manifest: the images.
        labels: [N] class of each that holds now, -1 without one.
        data: what the model was trained on.
        predictions: the folder of the logits of val, test and unlabelled.
        folds: what `folds` wrote, or None.

    Raises:
        UserError: they are of other images or classes than the data.
    """
    found: dict[str, HeldOut] = {}
    if folds:
        rows, logits = _out_of_fold(folds, manifest, data)
        found["folds"] = _judged("a model of another fold", rows, logits, labels)
    for split in ("val", "test", "unlabelled"):
        path = predictions / f"{split}_logits.npy"
        if split not in data.splits or not path.exists() or (split == "val" and folds):
            continue
        logits = np.load(path, mmap_mode="r")
        rows = manifest.rows(data.ids(split))
        if len(logits) != len(rows):
            raise UserError(
                f"{path} has {len(logits):,} rows for {len(rows):,} images: run dvc repro evaluate."
            )
        # An image that was labelled since then is still one that the model knows nothing of.
        there = rows >= 0
        found[split] = _judged("the model", rows[there], logits[there], labels)
    return found


def _judged(who: str, rows: Int64Array, logits: FloatArray, labels: Int64Array) -> HeldOut:
    own = labels[rows]
    known = own >= 0
    temperature = fit_temperature(logits[known], own[known])
    return HeldOut(who, rows, logits, own, temperature)


def _out_of_fold(
    folder: Path, manifest: Manifest, data: PreparedData
) -> tuple[Int64Array, FloatArray]:
    ids = read_table(folder / OUT_OF_FOLD, "evaluate", {"id": str})["id"].tolist()
    try:
        logits = np.load(folder / LOGITS, mmap_mode="r")
    except (OSError, ValueError):
        raise UserError(
            f"{folder / LOGITS} is missing or damaged: run python -m classifier folds -n "
            f"{folder.name} again, which reads the folds that are there."
        ) from None
    if len(ids) != len(logits) or read_json(folder / "folds.json").get("classes") != data.classes:
        raise UserError(
            f"{folder} is of other images or classes than data/prepared: run the folds again, or "
            "name others with --folds."
        )
    rows = manifest.rows(ids)
    return rows[rows >= 0], logits[rows >= 0]


def entropy(held: HeldOut) -> Float64Array:
    """[n] entropy of the calibrated probabilities, in nats."""
    found = np.empty(len(held.rows))
    step = max(1, (1 << 22) // max(1, held.logits.shape[1]))
    for start in range(0, len(found), step):
        part = softmax(np.asarray(held.logits[start : start + step], np.float64), held.temperature)
        found[start : start + step] = -(part * np.log(np.maximum(part, 1e-300))).sum(axis=1)
    return found
