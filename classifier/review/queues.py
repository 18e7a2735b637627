"""Which images to look at, and in which order: one queue for each thing that may be wrong.

All are made once, at the start, from files that the stages left behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from classifier.core.csv_files import read_table
from classifier.core.files import read_json
from classifier.core.types import Float32Array, Float64Array, FloatArray, Int64Array, TextArray
from classifier.evaluation.label_errors import unlikely_labels
from classifier.images.manifest import Manifest
from classifier.metrics.neighbors import nearest
from classifier.review.held_out import HeldOut, entropy

UNCERTAIN = 1000  # images in that queue, at most
DIVERSE = 1000  # images that are ranked by diversity too; the others follow by entropy
_CANDIDATES = 10_000  # of most entropy, which these are chosen from
_TRAIN_FIRST = ("train", "val", "test")  # whichever of two copies can best be left out


@dataclass(frozen=True)
class Queue:
    """Images in the order in which to look at them.

    ``rows`` int64 [n] of the manifest, -1 for a file that is no image; ``why`` says of the image at
    a place what about it, ``partners`` [n] the row of an image to compare it with, -1 for none;
    ``suggested`` [n] is a class or -1.
    """

    name: str
    title: str
    about: str
    rows: Int64Array
    why: Sequence[str]
    partners: Int64Array | None = None
    suggested: Int64Array | None = None
    files: Sequence[str] = field(default=())  # the names of files that are no images


def label_errors(held: Mapping[str, HeldOut], classes: Sequence[str]) -> Queue:
    """Labels that are likely wrong, by `unlikely_labels`."""
    rows, suggested, scores, why = [], [], [], []
    for one in (held[kind] for kind in ("folds", "val", "test") if kind in held):
        known = np.flatnonzero(one.labels >= 0)
        if not len(known):
            continue
        found = unlikely_labels(one.logits[known], one.labels[known], one.temperature)
        rows.append(one.rows[known[found.rows]])
        suggested.append(found.suggested)
        scores.append(found.score)
        for row, guess, score in zip(
            known[found.rows].tolist(), found.suggested.tolist(), found.score.tolist(), strict=True
        ):
            given = classes[one.labels[row]]
            why.append(
                f"{one.who} says {classes[guess]}; the label, {given}, has a probability of "
                f"{1 - score:.3f}"
            )
    order = np.argsort(-_joined(scores), kind="stable")
    about = (
        "Labels that models which were not trained on them contradict, the least likely first."
        if "folds" in held
        else "Labels of val and test that the model contradicts, the least likely first. It was "
        "trained on those of train: run python -m classifier folds for models that were not."
    )
    return Queue(
        "label-errors",
        "Likely label errors",
        about,
        _joined(rows).astype(np.int64)[order],
        [why[place] for place in order],
        suggested=_joined(suggested).astype(np.int64)[order],
    )


def uncertain(held: Mapping[str, HeldOut], classes: Sequence[str]) -> Queue:
    """Labelled images between whose first two classes the model can hardly decide."""
    rows, margins, why = [], [], []
    for one in (held[kind] for kind in ("folds", "val", "test") if kind in held):
        outcomes = one.outcomes
        second = outcomes.runner_up
        margin = outcomes.calibrated_confidence - outcomes.calibrated_probability(second)
        margin[one.labels < 0] = np.inf
        first = np.argsort(margin, kind="stable")[: min(UNCERTAIN, int((one.labels >= 0).sum()))]
        rows.append(one.rows[first])
        margins.append(margin[first])
        why += [
            f"{one.who} can hardly decide between {classes[a]} and {classes[b]}"
            for a, b in zip(outcomes.predicted[first], second[first], strict=True)
        ]
    order = np.argsort(_joined(margins), kind="stable")[:UNCERTAIN]
    return Queue(
        "uncertain",
        "Most uncertain",
        "Images whose first two classes are nearly as likely, closest first.",
        _joined(rows).astype(np.int64)[order],
        [why[place] for place in order],
    )


def near_duplicates(manifest: Manifest, splits: TextArray, quality: Path, leaks: Path) -> Queue:
    """Pairs that look the same: across splits, or with different labels.

    Of a pair, the image comes up that can be left out at the least cost: that of train.
    """
    kinds = {
        "near_duplicates_across_splits": "looks like an image of another split",
        "label_conflicts": "is the same as an image with another label",
        "near_duplicate_label_conflicts": "looks like an image with another label",
    }
    listed: list[tuple[str, str, str]] = []
    if quality.exists():
        pairs = read_json(quality)["pairs"]
        for kind, why in kinds.items():
            listed += [(pair["first"], pair["second"], why) for pair in pairs[kind]]
    if leaks.exists():
        table = read_table(leaks, "evaluate", {"id": str, "train_id": str})
        why = "is by its embedding nearly a copy of an image of another split"
        listed += [
            (one, other, why) for one, other in zip(table["train_id"], table["id"], strict=True)
        ]
    seen: dict[tuple[int, int], str] = {}
    for first, second, why in listed:
        rows = manifest.rows([first, second])
        if (rows >= 0).all():
            seen.setdefault(tuple(sorted(rows.tolist(), key=lambda r: _rank(str(splits[r])))), why)
    rows = np.array(list(seen), np.int64).reshape(-1, 2)
    return Queue(
        "near-duplicates",
        "Near-duplicates",
        "Pairs that look the same and are in two splits, or have two labels; the nearest pairs of "
        "each kind.",
        rows[:, 0],
        list(seen.values()),
        partners=rows[:, 1],
    )


def _rank(split: str) -> int:
    return _TRAIN_FIRST.index(split) if split in _TRAIN_FIRST else len(_TRAIN_FIRST)


def unlabelled(
    held: Mapping[str, HeldOut],
    vectors: FloatArray | None,
    places_of: Int64Array,
    train: FloatArray,
) -> Queue:
    """Images without a label, those first that would help most if they had one.

    Args:
        held: the logits.
        vectors: [m, D] embeddings of some of them, as `unit` gives them, or None.
        places_of: [m] which of the unlabelled logits these belong to.
        train: [t, D] embeddings of labelled images.
    """
    one = held.get("unlabelled")
    rows, why = np.zeros(0, np.int64), []
    if one is not None:
        doubt = entropy(one)
        order = np.argsort(-doubt, kind="stable")
        if vectors is not None:
            first = places_of[most_helpful(doubt[places_of], vectors, train)]
            order = np.concatenate([first, order[~np.isin(order, first)]])
        order = order[one.labels[order] < 0]
        rows = one.rows[order]
        why = [f"no label yet; the model's doubt is {value:.2f} nats" for value in doubt[order]]
    return Queue(
        "unlabelled",
        "Unlabeled",
        "Images without a label, those first that the model is unsure of and that are unlike the "
        "labeled ones and one another.",
        rows,
        why,
    )


def most_helpful(
    doubt: Float64Array, vectors: FloatArray, known: FloatArray, most: int = DIVERSE
) -> Int64Array:
    """Choose images of much entropy that lie far apart: [min(most, N)], best first.

    Each is the one with the largest product of entropy and of the distance to the nearest image
    that is labelled or chosen already. Without the entropy that is the greedy k-center choice of
    Sener and Savarese 2018 (https://arxiv.org/abs/1708.00489), which covers the images whatever the
    model knows; without the distance, the most uncertain ones, which resemble one another.

    Args:
        doubt: [N] entropy.
        vectors: [N, D] embeddings, as `unit` gives them.
        known: [M, D] of labelled images, perhaps none.
        most: how many.
    """
    candidates = np.argsort(-doubt, kind="stable")[:_CANDIDATES]
    near: Float32Array = np.asarray(vectors[candidates], np.float32)
    if len(known):
        distance = nearest(near, known, 1).distance[:, 0]
    else:
        distance = np.ones(len(near), np.float32)
    chosen = []
    worth = doubt[candidates]
    free = np.ones(len(near), bool)
    for _ in range(min(most, len(near))):
        pick = int(np.argmax(np.where(free, worth * distance, -1)))
        free[pick] = False
        chosen.append(pick)
        distance = np.minimum(distance, 1 - near @ near[pick])
    return candidates[chosen]


def rejected(path: Path) -> Queue:
    """Files that could not be taken in: to be mended or removed where they came from."""
    files: list[str] = []
    why: list[str] = []
    if path.exists():
        table = read_table(path, "download", {"path": str, "reason": str})
        files, why = table["path"].tolist(), table["reason"].tolist()
    return Queue(
        "rejected",
        "Rejected files",
        "Files that could not be read. There is nothing to decide: mend or remove them where they "
        "came from.",
        np.full(len(files), -1),
        why,
        files=files,
    )


def _joined(parts: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])
