"""Which images a network gets wrong, which ones it doubts, and which classes it confuses.

Probabilities are calibrated ones, as in predictions.csv.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from classifier.core.types import AnyArray
from classifier.metrics.outcomes import Outcomes

PAIR_EXAMPLES = 8  # rows given for each pair of classes


def confident_mistakes(
    outcomes: Outcomes, ids: Sequence[str], classes: Sequence[str], most: int
) -> pd.DataFrame:
    """Wrong predictions, most confident first: a wrong label is often among them.

    Columns: row, id, actual, predicted, probability (of the predicted class), actual_probability.
    """
    wrong = np.flatnonzero(~outcomes.right)
    order = wrong[np.argsort(-outcomes.calibrated_confidence[wrong], kind="stable")][:most]
    own = outcomes.calibrated_probability(outcomes.labels)
    names = np.array(classes)
    return pd.DataFrame(
        {
            **_answers(outcomes, ids, names, order),
            "actual_probability": own[order],
        }
    )


def _answers(
    outcomes: Outcomes, ids: Sequence[str], names: AnyArray, order: AnyArray
) -> dict[str, Any]:
    """The columns that both tables begin with, of the rows ``order``."""
    return {
        "row": order,
        "id": [ids[row] for row in order],
        "actual": names[outcomes.labels[order]],
        "predicted": names[outcomes.predicted[order]],
        "probability": outcomes.calibrated_confidence[order],
    }


def least_certain(
    outcomes: Outcomes, ids: Sequence[str], classes: Sequence[str], most: int
) -> pd.DataFrame:
    """Images whose first two classes are closest (margin sampling of active learning).

    Columns: row, id, actual, predicted, probability, runner_up, margin (difference of the two
    probabilities); smallest margin first.
    """
    margin = outcomes.calibrated_confidence - outcomes.calibrated_probability(outcomes.runner_up)
    order = np.argsort(margin, kind="stable")[:most]
    names = np.array(classes)
    return pd.DataFrame(
        {
            **_answers(outcomes, ids, names, order),
            "runner_up": names[outcomes.runner_up[order]],
            "margin": margin[order],
        }
    )


def confused_pairs(outcomes: Outcomes, classes: Sequence[str], most: int) -> pd.DataFrame:
    """Ordered pairs of classes that are mistaken for one another, largest count first.

    Columns: actual, predicted, count, fraction (of the actual class's images, 0..1), rows (up to
    PAIR_EXAMPLES, separated by spaces, most confident first).
    """
    wrong = np.flatnonzero(~outcomes.right)
    wrong = wrong[np.argsort(-outcomes.calibrated_confidence[wrong], kind="stable")]
    pairs = outcomes.labels[wrong] * outcomes.classes + outcomes.predicted[wrong]
    found, counts = np.unique(pairs, return_counts=True)
    support = np.bincount(outcomes.labels, minlength=outcomes.classes)
    order = np.argsort(-counts, kind="stable")[:most]
    actual, predicted = np.divmod(found[order], outcomes.classes)
    examples = [wrong[pairs == pair][:PAIR_EXAMPLES] for pair in found[order]]
    names = np.array(classes)
    return pd.DataFrame(
        {
            "actual": names[actual],
            "predicted": names[predicted],
            "count": counts[order],
            "fraction": counts[order] / support[actual],
            "rows": [" ".join(map(str, rows)) for rows in examples],
        }
    )
