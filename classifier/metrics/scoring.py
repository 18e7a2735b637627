"""The figures of a split, from its logits: each with a percentile bootstrap interval.

Where no resample differs from another, as at an accuracy of 100 %, that interval would have no
width and claim a certainty that nobody has. Accuracy, top-k accuracy and a class's precision,
recall and F1 then take the Wilson score interval, and other figures have none (nan).

Average precision and calibration errors come out higher in resamples than in the images that
they are drawn from, since an image that is drawn twice agrees with itself. With few images a
class the figure could even lie below its own interval, so that theirs is shifted by that bias, as
the bootstrap estimates it (Efron and Tibshirani 1993, chapter 10).

Definitions are scikit-learn's. Macro averages are over the classes that occur, as labels or as
predictions; a precision, recall or F1 without any image to count is 0 in them. ROC AUC and
average precision are one class against the rest, macro over the classes that have both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval

from classifier.core.types import Float64Array
from classifier.metrics.bootstrap import Weights, group_sums, interval, resamples, wilson
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.ranking import areas
from classifier.metrics.reliability import bin_of
from classifier.metrics.selective import area
from classifier.metrics.thresholds import rule

Bounds = tuple[float, float]

# Ranking looks at every image for every class in every resample. Beyond this many looks (about
# two seconds) it gets fewer resamples, but never fewer than FEWEST.
RANKING_LOOKS = 2_000_000_000
FEWEST = 100
HEADLINE = ("precision_macro", "recall_macro", "f1_macro", "f1_weighted")
BIASED = ("average_precision", "ece", "ece_calibrated")


@dataclass(frozen=True)
class EvaluateParams:
    """The section ``evaluate`` of params.yaml, which says what each key means."""

    batch_size: Annotated[int, Interval(ge=1, le=1 << 20)]
    top_k: Annotated[int, Interval(ge=1, le=100_000)]
    seed: Annotated[int, Ge(0)]
    bootstrap_samples: Annotated[int, Interval(ge=10, le=100_000)] = 1000
    confidence: Annotated[float, Interval(gt=0, lt=1)] = 0.95
    calibration_bins: Annotated[int, Interval(ge=1, le=10_000)] = 15
    test_time_augmentation: bool = True
    train_images: Annotated[int, Ge(0)] = 5000
    embedding_images: Annotated[int, Ge(0)] = 2000
    examples: Annotated[int, Interval(ge=1, le=10_000)] = 60
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    positive_class: str | int | None = None
    threshold: float | str | None = None
    target_accuracy: Annotated[float, Interval(gt=0, lt=1)] | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None:
            try:
                rule(self.threshold)
            except ValueError as error:
                raise ValueError(f"threshold {error}") from None


@dataclass(frozen=True)
class Scores:
    """Figures of one split, each with its interval; the per-class ones as arrays [K].

    ``values`` and ``bounds`` have the same keys, as have ``class_values`` and ``class_bounds``.
    nan stands for what is not defined (the recall of a class without images, the interval of a
    figure that no resample changes).
    ``ranking_samples`` is the number of resamples behind the bounds of the ranking figures.
    """

    values: Mapping[str, float]
    bounds: Mapping[str, Bounds]
    class_values: Mapping[str, Float64Array]
    class_bounds: Mapping[str, tuple[Float64Array, Float64Array]]
    ranking_samples: int

    def text(self, name: str) -> str:
        """A figure for people: "0.9944 (0.9861 to 1.0000)", without an interval where none is."""
        low, high = self.bounds[name]
        interval = "" if np.isnan(low) else f" ({low:.4f} to {high:.4f})"
        return f"{self.values[name]:.4f}{interval}"

    def table(self) -> dict[str, dict[str, float]]:
        """Every figure as {"value", "low", "high"}, for JSON."""
        return {
            name: {"value": value, "low": self.bounds[name][0], "high": self.bounds[name][1]}
            for name, value in self.values.items()
        }


def score(outcomes: Outcomes, params: EvaluateParams) -> Scores:
    """All figures of a split with at least one image; a pure function of its arguments."""
    count = len(outcomes.labels)
    everything = np.ones((count, 1))
    counted, by_class = counting(outcomes, params, everything)
    ranked, ranked_by_class = ranking(outcomes, everything)
    values = {name: float(figure[0]) for name, figure in {**counted, **ranked}.items()}
    class_values = {name: figure[:, 0] for name, figure in {**by_class, **ranked_by_class}.items()}

    looks = RANKING_LOOKS // (count * outcomes.classes)
    ranking_samples = min(params.bootstrap_samples, max(FEWEST, looks))
    drawn: dict[str, list[Weights]] = {}
    left = ranking_samples
    for weights in resamples(count, params.bootstrap_samples, params.seed):
        for part in counting(outcomes, params, weights):
            for name, figure in part.items():
                drawn.setdefault(name, []).append(figure)
        if left > 0:
            for part in ranking(outcomes, weights[:, :left]):
                for name, figure in part.items():
                    drawn.setdefault(name, []).append(figure)
            left -= weights.shape[1]
    figures = {**values, **class_values}
    found = {
        name: _bounds(name, figures[name], np.concatenate(parts, axis=-1), outcomes, params)
        for name, parts in drawn.items()
    }
    return Scores(
        values=values,
        bounds={name: (float(found[name][0]), float(found[name][1])) for name in values},
        class_values=class_values,
        class_bounds={name: found[name] for name in class_values},
        ranking_samples=ranking_samples,
    )


def _bounds(
    name: str, value: Any, drawn: Weights, outcomes: Outcomes, params: EvaluateParams
) -> tuple[Weights, Weights]:
    """Low and high end [...] of a figure [...], from its resamples [..., B]; see the module."""
    low, high = interval(drawn, params.confidence)
    if name.removeprefix("class_") in BIASED:
        bias = np.nan_to_num(_mean(np.moveaxis(drawn, -1, 0)) - value)
        low, high = np.clip(low - bias, 0, value), np.clip(high - bias, value, 1)
    same = np.fmax.reduce(drawn, axis=-1) - np.fmin.reduce(drawn, axis=-1) < 1e-12
    if not same.any():
        return low, high
    ends = np.full((2, *same.shape), np.nan)
    counts = _share_of(name, outcomes)
    if counts is not None:
        # F1 = 2J / (1 + J) grows with J, the fraction that is right among the images that are the
        # class or are taken for it.
        f1 = name == "class_f1"
        with np.errstate(invalid="ignore", divide="ignore"):
            fraction = np.asarray(value / (2 - value) if f1 else value)
            ends = np.stack(wilson(fraction, counts, params.confidence))
        ends = 2 * ends / (1 + ends) if f1 else ends
    return np.where(same, ends[0], low), np.where(same, ends[1], high)


def _share_of(name: str, outcomes: Outcomes) -> Float64Array | None:
    """The number of images that a figure is a fraction of, [K] for those of classes, or None."""
    if name == "recall_weighted" or (name.endswith("accuracy") and name != "balanced_accuracy"):
        return np.float64(len(outcomes.labels))  # type: ignore[return-value]
    actual, predicted, hits = (
        np.bincount(labels, minlength=outcomes.classes).astype(np.float64)
        for labels in (outcomes.labels, outcomes.predicted, outcomes.labels[outcomes.right])
    )
    return {
        "class_precision": predicted,
        "class_recall": actual,
        "class_f1": actual + predicted - hits,
    }.get(name)


def counting(
    outcomes: Outcomes, params: EvaluateParams, weights: Weights
) -> tuple[dict[str, Weights], dict[str, Weights]]:
    """Figures made of sums over images: name -> [B], and per class "class_"name -> [K,B]."""
    classes, total = outcomes.classes, weights.sum(axis=0)
    actual = group_sums(weights, outcomes.labels, classes)
    predicted = group_sums(weights, outcomes.predicted, classes)
    right = np.flatnonzero(outcomes.right)
    hits = group_sums(weights, outcomes.labels[right], classes, images=right)
    with np.errstate(invalid="ignore"):
        by_class = {
            "class_precision": hits / predicted,
            "class_recall": hits / actual,
            "class_f1": 2 * hits / (actual + predicted),
        }
    occurs = actual + predicted > 0
    precision, recall, f1 = (np.where(np.isnan(x), 0, x) for x in by_class.values())
    agreement = hits.sum(axis=0)
    # Chance agreement and the three covariances of Gorodkin 2004 (the multi-class MCC), from
    # fractions of images so that no product grows large.
    p, a = predicted / total, actual / total
    both, own_p, own_a = (p * a).sum(axis=0), 1 - (p * p).sum(axis=0), 1 - (a * a).sum(axis=0)
    accuracy = agreement / total
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(own_p * own_a)
        mcc = np.where(spread > 0, (accuracy - both) / spread, 0.0)
        kappa = (accuracy - both) / (1 - both)
    figures = {
        "accuracy": accuracy,
        "loss": group_sums(weights, np.zeros_like(outcomes.labels), 1, outcomes.loss)[0] / total,
        "balanced_accuracy": recall.sum(axis=0) / (actual > 0).sum(axis=0),
        "precision_macro": precision.sum(axis=0) / occurs.sum(axis=0),
        "recall_macro": recall.sum(axis=0) / occurs.sum(axis=0),
        "f1_macro": f1.sum(axis=0) / occurs.sum(axis=0),
        # Whole numbers are summed exactly, so that resamples of what is all right are all the same.
        "precision_weighted": (precision * actual).sum(axis=0) / total,
        "recall_weighted": accuracy,
        "f1_weighted": (f1 * actual).sum(axis=0) / total,
        "mcc": mcc,
        "kappa": kappa,
        "ece": _calibration_error(outcomes, outcomes.confidence, params, weights),
        "aurc": area(outcomes.calibrated_confidence, outcomes.right, weights),
    }
    if outcomes.temperature is not None:
        confidence = outcomes.calibrated_confidence
        figures["ece_calibrated"] = _calibration_error(outcomes, confidence, params, weights)
    if params.top_k < classes:  # else every prediction is right
        near = np.flatnonzero(outcomes.place < params.top_k)
        found = group_sums(weights, np.zeros_like(near), 1, images=near)[0]
        figures[f"top{params.top_k}_accuracy"] = found / total
    return figures, by_class


def _calibration_error(
    outcomes: Outcomes, confidence: Float64Array, params: EvaluateParams, weights: Weights
) -> Weights:
    """Expected calibration error [B]: a bin's gap times its weight is the sum of its gaps."""
    bins = params.calibration_bins
    gaps = group_sums(weights, bin_of(confidence, bins), bins, outcomes.right - confidence)
    return np.abs(gaps).sum(axis=0) / weights.sum(axis=0)


def ranking(outcomes: Outcomes, weights: Weights) -> tuple[dict[str, Weights], dict[str, Weights]]:
    """ROC AUC and average precision, macro [B] and "class_"name [K,B]."""
    shape = (outcomes.classes, weights.shape[1])
    auc, precision = np.full(shape, np.nan), np.full(shape, np.nan)
    for label in np.unique(outcomes.labels).tolist():
        scores = outcomes.probability(label)
        auc[label], precision[label] = areas(scores, outcomes.labels == label, weights)
    by_class = {"class_roc_auc": auc, "class_average_precision": precision}
    macro = {name.removeprefix("class_"): _mean(figure) for name, figure in by_class.items()}
    return macro, by_class


def _mean(figure: Weights) -> Weights:
    """Mean over classes of what is not nan; nan when nothing is."""
    with np.errstate(invalid="ignore"):
        return np.nansum(figure, axis=0) / (~np.isnan(figure)).sum(axis=0)


def headline(scores: Scores) -> dict[str, Any]:
    """The figures of ``metrics/evaluate.json``: few, so that DVC's tables stay narrow.

    DVC shows no lists: the interval is for `runs`, which reads what Git keeps.
    """
    values = scores.values
    return {
        "test_accuracy": values["accuracy"],
        "test_accuracy_interval": list(scores.bounds["accuracy"]),
        "test_loss": values["loss"],
        **{name: values[name] for name in HEADLINE},
    }
