"""The tables of scores that an evaluation leaves behind."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classifier.core.csv_files import row_writer
from classifier.core.softmax import softmax
from classifier.core.types import FloatArray, Int64Array
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.ranking import pr_curve, roc_curve
from classifier.metrics.reliability import reliability
from classifier.metrics.scoring import Scores
from classifier.metrics.stored_logits import WHOLE_CLASSES
from classifier.models.decision import Decision

CURVE_POINTS = 101
TOP = 5  # classes that a table of predictions names of each image where there are many
NAMED_CURVES = 10  # classes: with more of them the curves are the averages alone
_MICRO_SCORES = 2_000_000  # scores that the micro-averaged curves look at, 70 bytes each
_CHUNK = 1 << 20  # probabilities turned into text together


def write_predictions(
    path: Path,
    ids: Sequence[str],
    logits: FloatArray,
    classes: Sequence[str],
    labels: Int64Array | None = None,
    temperature: float = 1.0,
    decision: Decision | None = None,
) -> None:
    """Write id, actual (if there are labels), predicted, probability, and p_CLASS for every class.

    With a ``decision``, ``answer`` stands before predicted, the most probable class: a class or
    *not sure*.

    Of more than ``WHOLE_CLASSES`` classes the ``TOP`` likeliest alone are written, in the columns
    predicted, probability, predicted_2, probability_2 … that ``predict --out`` has too.

    Probabilities are the softmax of the logits divided by ``temperature``: the calibrated ones
    that predict, serve and the exported models give too. The logits themselves, which loss and
    ``ece`` are made from, are in ``data/predictions/*_logits.npy``.
    """
    known = [] if labels is None else ["actual"]
    decided = [] if decision is None else ["answer"]
    columns = ["id", *known, *decided, "predicted", "probability"]
    if len(classes) <= WHOLE_CLASSES:
        columns += [f"p_{name}" for name in classes]
    else:
        places = range(2, TOP + 1)
        columns += [f"{name}_{n}" for n in places for name in ("predicted", "probability")]
    with row_writer(path, columns) as write:
        write(_prediction_rows(ids, logits, classes, labels, temperature, decision))


def _prediction_rows(
    ids: Sequence[str],
    logits: FloatArray,
    classes: Sequence[str],
    labels: Int64Array | None,
    temperature: float,
    decision: Decision | None,
) -> Iterator[list[str]]:
    numbers = ",".join(["%.6g"] * len(classes))
    names = np.array(classes, object)
    step = max(1, _CHUNK // len(classes))
    for start in range(0, len(logits), step):
        part = np.asarray(logits[start : start + step], np.float64)
        probabilities = softmax(part, temperature)
        rows = range(start, start + len(part))
        before = [[ids[row], *([] if labels is None else [classes[labels[row]]])] for row in rows]
        if decision is not None:
            for cells, answer in zip(before, decision.texts(probabilities, classes), strict=True):
                cells.append(answer)
        if len(classes) > WHOLE_CLASSES:
            first = np.argsort(-part, axis=1, kind="stable")[:, :TOP]
            said = names[first].tolist()
            likely = np.take_along_axis(probabilities, first, axis=1).tolist()
            for cells, *pairs in zip(before, said, likely, strict=True):
                best = [
                    c for name, value in zip(*pairs, strict=True) for c in (name, f"{value:.6g}")
                ]
                yield [*cells, *best]
            continue
        winners = part.argmax(axis=1).tolist()
        for cells, values, winner in zip(before, probabilities.tolist(), winners, strict=True):
            # One format string for a whole row is the fastest way from floats to text.
            texts = (numbers % tuple(values)).split(",")
            yield [*cells, classes[winner], texts[winner], *texts]


def per_class(outcomes: Outcomes, scores: Scores, classes: Sequence[str]) -> pd.DataFrame:
    """One row a class: support, predicted (counts), and each figure with its interval."""
    columns: dict[str, Any] = {
        "class": classes,
        "support": np.bincount(outcomes.labels, minlength=len(classes)),
        "predicted": np.bincount(outcomes.predicted, minlength=len(classes)),
    }
    for key, values in scores.class_values.items():
        name, (low, high) = key.removeprefix("class_"), scores.class_bounds[key]
        columns |= {name: values, f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(columns)


def confusion(outcomes: Outcomes, classes: Sequence[str]) -> pd.DataFrame:
    """One row an image: actual and predicted class name."""
    names = np.array(classes)
    return pd.DataFrame({"actual": names[outcomes.labels], "predicted": names[outcomes.predicted]})


def roc(outcomes: Outcomes, classes: Sequence[str]) -> pd.DataFrame:
    """True positive rate by false positive rate (fpr, denser near 0): micro, macro, each class.

    ``micro`` ranks all pairs of image and class together, ``macro`` is the mean over classes
    that have a curve; classes have their own columns when there are at most NAMED_CURVES.
    """
    return _curves("fpr", np.linspace(0, 1, CURVE_POINTS) ** 2, roc_curve, outcomes, classes)


def pr(outcomes: Outcomes, classes: Sequence[str]) -> pd.DataFrame:
    """Precision by recall: columns as of `roc`."""
    return _curves("recall", np.linspace(0, 1, CURVE_POINTS), pr_curve, outcomes, classes)


def _curves(
    axis: str, at: Any, curve: Any, outcomes: Outcomes, classes: Sequence[str]
) -> pd.DataFrame:
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
        columns |= {f"class {name}": line for name, line in zip(classes, lines, strict=True)}
    return pd.DataFrame(columns)


def reliability_bins(outcomes: Outcomes, bins: int) -> pd.DataFrame:
    """One row a bin of confidence that holds images before or after temperature scaling.

    bin (its center), perfect (the same number: the line to be on), then count, confidence (mean
    probability of the predicted class) and accuracy, and the same three with ``_calibrated``;
    those of an empty bin are nan, but for its count.
    """
    center = (np.arange(bins) + 0.5) / bins
    table = pd.DataFrame({"bin": center, "perfect": center})
    confidences = {"": outcomes.confidence, "_calibrated": outcomes.calibrated_confidence}
    for ending, confidence in confidences.items():
        found = reliability(confidence, outcomes.right, bins)
        table[f"count{ending}"] = found.count.astype(np.int64)
        table[f"confidence{ending}"] = found.confidence
        table[f"accuracy{ending}"] = found.accuracy
    return table[(table["count"] > 0) | (table["count_calibrated"] > 0)]
