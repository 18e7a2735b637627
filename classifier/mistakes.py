"""Which pictures a network gets wrong, which ones it doubts, and which classes it confuses.

Probabilities are calibrated ones, as in predictions.csv.
"""

from collections.abc import Sequence

import numpy as np

from classifier.outcomes import Outcomes
from classifier.tables import Table

PAIR_EXAMPLES = 8  # rows given for each pair of classes


def confident_mistakes(
    outcomes: Outcomes, ids: Sequence[str], classes: Sequence[str], most: int
) -> Table:
    """Wrong predictions, most confident first: a wrong label is often among them.

    Columns: row, id, actual, predicted, probability (of the predicted class), actual_probability.
    """
    wrong = np.flatnonzero(~outcomes.right)
    order = wrong[np.argsort(-outcomes.calibrated_confidence[wrong], kind="stable")][:most]
    own = outcomes.calibrated_probability(outcomes.labels)
    rows = [
        (
            row,
            ids[row],
            classes[outcomes.labels[row]],
            classes[outcomes.predicted[row]],
            outcomes.calibrated_confidence[row],
            own[row],
        )
        for row in order.tolist()
    ]
    columns = ["row", "id", "actual", "predicted", "probability", "actual_probability"]
    return Table(columns, rows)


def least_certain(
    outcomes: Outcomes, ids: Sequence[str], classes: Sequence[str], most: int
) -> Table:
    """Pictures whose first two classes are closest (margin sampling of active learning).

    Columns: row, id, actual, predicted, probability, runner_up, margin (difference of the two
    probabilities); smallest margin first.
    """
    margin = outcomes.calibrated_confidence - outcomes.calibrated_probability(outcomes.runner_up)
    rows = [
        (
            row,
            ids[row],
            classes[outcomes.labels[row]],
            classes[outcomes.predicted[row]],
            outcomes.calibrated_confidence[row],
            classes[outcomes.runner_up[row]],
            margin[row],
        )
        for row in np.argsort(margin, kind="stable")[:most].tolist()
    ]
    columns = ["row", "id", "actual", "predicted", "probability", "runner_up", "margin"]
    return Table(columns, rows)


def confused_pairs(outcomes: Outcomes, classes: Sequence[str], most: int) -> Table:
    """Ordered pairs of classes that are mistaken for one another, largest count first.

    Columns: actual, predicted, count, share (of the actual class's pictures, 0..1), rows (up to
    PAIR_EXAMPLES, separated by spaces, most confident first).
    """
    wrong = np.flatnonzero(~outcomes.right)
    wrong = wrong[np.argsort(-outcomes.calibrated_confidence[wrong], kind="stable")]
    pairs = outcomes.labels[wrong] * outcomes.classes + outcomes.predicted[wrong]
    found, counts = np.unique(pairs, return_counts=True)
    support = np.bincount(outcomes.labels, minlength=outcomes.classes)
    rows = []
    for index in np.argsort(-counts, kind="stable")[:most].tolist():
        actual, predicted = divmod(int(found[index]), outcomes.classes)
        examples = wrong[pairs == found[index]][:PAIR_EXAMPLES]
        count = int(counts[index])
        rows.append(
            (
                classes[actual],
                classes[predicted],
                count,
                count / int(support[actual]),
                " ".join(str(row) for row in examples.tolist()),
            )
        )
    return Table(["actual", "predicted", "count", "share", "rows"], rows)
