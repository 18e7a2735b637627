"""The tables that an evaluation leaves behind, as columns and rows, and the way to CSV.

Numbers are written with six significant digits, what is not defined as an empty cell; but in a
table that ``dvc plots`` draws as lines as "nan", which leaves a gap where an empty cell would be
drawn as 0.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifier.array_types import Float32Array, Int64Array
from classifier.calibration import reliability
from classifier.files import replacing
from classifier.outcomes import Outcomes
from classifier.ranking import pr_curve, roc_curve
from classifier.scoring import Scores
from classifier.softmax import softmax

CURVE_POINTS = 101
NAMED_CURVES = 10  # classes: with more of them the curves are the averages alone
_MICRO_SCORES = 10_000_000  # scores that the micro-averaged curves look at
_CHUNK = 1 << 20  # probabilities turned into text together


@dataclass(frozen=True)
class Table:
    """Column names and rows of texts and numbers; ``missing`` is written for nan."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]
    missing: str = ""

    def write(self, path: str | Path) -> None:
        """Write as CSV (UTF-8, Unix line ends), atomically."""
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows([self._text(cell) for cell in row] for row in self.rows)

    def _text(self, cell: Any) -> Any:
        if isinstance(cell, float | np.floating):
            return self.missing if np.isnan(cell) else f"{cell:.6g}"
        return cell


def predictions(
    ids: Sequence[str],
    logits: Float32Array,
    classes: Sequence[str],
    labels: Int64Array | None = None,
    temperature: float = 1.0,
) -> Table:
    """id, actual (if there are labels), predicted, probability, and p_CLASS for every class.

    Probabilities are the softmax of the logits divided by ``temperature``: the calibrated ones
    that predict, serve and the exported models give too. The logits themselves, which loss and
    ``ece`` are made from, are in ``data/predictions/*_logits.npy``.
    """
    known = [] if labels is None else ["actual"]
    columns = ["id", *known, "predicted", "probability", *(f"p_{name}" for name in classes)]
    return Table(columns, _prediction_rows(ids, logits, classes, labels, temperature))


def _prediction_rows(
    ids: Sequence[str],
    logits: Float32Array,
    classes: Sequence[str],
    labels: Int64Array | None,
    temperature: float,
) -> Iterator[list[str]]:
    numbers = ",".join(["%.6g"] * len(classes))
    step = max(1, _CHUNK // len(classes))
    for start in range(0, len(logits), step):
        part = np.asarray(logits[start : start + step], np.float64)
        shares = softmax(part, temperature)
        winners = part.argmax(axis=1).tolist()
        for row, (share, winner) in enumerate(zip(shares.tolist(), winners, strict=True), start):
            # One format string for a whole row is the fastest way from floats to text.
            cells = (numbers % tuple(share)).split(",")
            actual = [] if labels is None else [classes[labels[row]]]
            yield [ids[row], *actual, classes[winner], cells[winner], *cells]


def per_class(outcomes: Outcomes, scores: Scores, classes: Sequence[str]) -> Table:
    """One row a class: support, predicted (counts), and each figure with its interval."""
    names = [name.removeprefix("class_") for name in scores.class_values]
    columns = ["class", "support", "predicted"]
    cells: list[Any] = [
        classes,
        np.bincount(outcomes.labels, minlength=len(classes)).tolist(),
        np.bincount(outcomes.predicted, minlength=len(classes)).tolist(),
    ]
    for name in names:
        low, high = scores.class_bounds[f"class_{name}"]
        columns += [name, f"{name}_low", f"{name}_high"]
        cells += [scores.class_values[f"class_{name}"].tolist(), low.tolist(), high.tolist()]
    return Table(columns, list(zip(*cells, strict=True)))


def confusion(outcomes: Outcomes, classes: Sequence[str]) -> Table:
    """One row a picture: actual and predicted class name."""
    pairs = zip(outcomes.labels.tolist(), outcomes.predicted.tolist(), strict=True)
    return Table(["actual", "predicted"], [(classes[a], classes[p]) for a, p in pairs])


def roc(outcomes: Outcomes, classes: Sequence[str]) -> Table:
    """True positive rate by false positive rate (fpr, denser near 0): micro, macro, each class.

    ``micro`` ranks all pairs of picture and class together, ``macro`` is the mean over classes
    that have a curve; classes have their own columns when there are at most NAMED_CURVES.
    """
    return _curves("fpr", np.linspace(0, 1, CURVE_POINTS) ** 2, roc_curve, outcomes, classes)


def pr(outcomes: Outcomes, classes: Sequence[str]) -> Table:
    """Precision by recall: columns as of `roc`."""
    return _curves("recall", np.linspace(0, 1, CURVE_POINTS), pr_curve, outcomes, classes)


def _curves(axis: str, at: Any, curve: Any, outcomes: Outcomes, classes: Sequence[str]) -> Table:
    count, number = outcomes.logits.shape
    lines = [
        curve(outcomes.probability(label), outcomes.labels == label, at) for label in range(number)
    ]
    defined = [line for line in lines if not np.isnan(line).any()]
    macro = np.mean(defined, axis=0) if defined else np.full(len(at), np.nan)
    # Evenly spread rows stand for all where the pairs are too many to sort.
    rows = np.unique(np.linspace(0, count - 1, min(count, _MICRO_SCORES // number)).astype(int))
    some = Outcomes(outcomes.logits[rows], outcomes.labels[rows])
    scores = np.concatenate([some.probability(label) for label in range(number)])
    positive = np.concatenate([some.labels == label for label in range(number)])
    columns = {axis: at, "micro": curve(scores, positive, at), "macro": macro}
    if number <= NAMED_CURVES:
        # A class may be called "macro": a dictionary would lose a column.
        names = [*columns, *(f"class {name}" for name in classes)]
        return Table(names, np.column_stack([*columns.values(), *lines]).tolist(), missing="nan")
    return Table(list(columns), np.column_stack(list(columns.values())).tolist(), missing="nan")


def reliability_bins(outcomes: Outcomes, bins: int) -> Table:
    """One row a bin of confidence that holds pictures before or after temperature scaling.

    bin (its centre), perfect (the same number: the line to be on), then count, confidence (mean
    probability of the predicted class) and accuracy, and the same three with ``_calibrated``;
    those of an empty bin are nan, but for its count.
    """
    before = reliability(outcomes.confidence, outcomes.right, bins)
    after = reliability(outcomes.calibrated_confidence, outcomes.right, bins)
    rows: list[list[float]] = []
    for b in range(bins):
        if before.count[b] or after.count[b]:
            row = [(b + 0.5) / bins, (b + 0.5) / bins]
            for part in (before, after):
                row += [int(part.count[b]), part.confidence[b], part.accuracy[b]]
            rows.append(row)
    names = ["count", "confidence", "accuracy"]
    columns = ["bin", "perfect", *names, *(f"{name}_calibrated" for name in names)]
    return Table(columns, rows, missing="nan")
