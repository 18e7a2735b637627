"""The nearest training images of what is looked at, and images that train and test may share."""

import numpy as np
import pandas as pd

from classifier.dataset.prepared import PreparedData
from classifier.evaluation.evaluate import Evaluation
from classifier.metrics.neighbors import nearest

BESIDE = 3  # training images shown beside an image
# An image whose nearest training image lies at less than this fraction of the distance of its
# fifth nearest is suspected to be a copy of it (benchmarks/neighbors.md).
_NEAR, _FIFTH = 0.3, 5


def beside(evaluation: Evaluation, data: PreparedData, wanted: pd.DataFrame) -> pd.DataFrame:
    """The nearest of the train images that were scored, for images of val and test.

    Args:
        wanted: columns split and row; images without an embedding get none.

    Returns:
        split, row, place (1 for the nearest), train_row, train_id, label, distance (cosine, 0..2).
    """
    return pd.concat(
        [
            _nearest(evaluation, data, str(split), group["row"].to_numpy(np.int64), BESIDE)
            for split, group in wanted.drop_duplicates().groupby("split", sort=False)
        ]
        or [_nearest(evaluation, data, "test", np.zeros(0, np.int64), BESIDE)],
        ignore_index=True,
    )


def leaks(evaluation: Evaluation, data: PreparedData, most: int) -> tuple[pd.DataFrame, int]:
    """Images of val and test that a training image seems to be a copy of, and how many there are.

    In the columns of `beside` (place is 1), with the image's own id and label, and ratio (of the
    distance to that of the fifth nearest); smallest ratio first.
    """
    parts = []
    for split in ("val", "test"):
        if split not in evaluation.embedded:
            continue
        found = _nearest(evaluation, data, split, evaluation.embedded[split].rows, _FIFTH)
        fifth = found.loc[found["place"] == _FIFTH, "distance"].to_numpy()
        first = found[found["place"] == 1].copy()
        if not len(fifth):  # fewer training images than that
            continue
        first["ratio"] = np.divide(
            first["distance"], fifth, out=np.ones(len(fifth)), where=fifth > 0
        )
        first = first[first["ratio"] < _NEAR]
        labels = data.labels(split)
        names = np.array(evaluation.classes)
        first.insert(2, "id", data.ids(split, first["row"].to_numpy()))
        first.insert(3, "own_label", names[labels[first["row"]]])
        parts.append(first)
    if not parts:
        return pd.DataFrame(columns=["split", "row", "train_row", "ratio"]), 0
    found = pd.concat(parts, ignore_index=True).sort_values("ratio", kind="stable")
    return found.head(most).drop(columns="place"), len(found)


def _nearest(
    evaluation: Evaluation, data: PreparedData, split: str, rows: np.ndarray, count: int
) -> pd.DataFrame:
    """The columns of `beside`, ``count`` rows for each of ``rows`` of a split."""
    asked, known = evaluation.embedded[split], evaluation.embedded.get("train")
    rows = rows[np.isin(rows, asked.rows)]
    if known is None:
        rows, count = rows[:0], 1
        known = asked._replace(rows=asked.rows[:1], vectors=asked.vectors[:1])
    found = nearest(asked.vectors[np.searchsorted(asked.rows, rows)], known.vectors, count)
    train_rows = known.rows[found.rows.ravel()]
    each = found.rows.shape[1]
    return pd.DataFrame(
        {
            "split": split,
            "row": np.repeat(rows, each),
            "place": np.tile(np.arange(1, each + 1), len(rows)),
            "train_row": train_rows,
            "train_id": data.ids("train", train_rows),
            "label": np.array(evaluation.classes)[data.labels("train")[train_rows]],
            "distance": found.distance.ravel(),
        }
    )
