"""Answers that are given only where they are sure: risk, coverage, and a promised accuracy.

Coverage is the fraction of images that get an answer, risk the fraction of wrong ones among these
answers (Geifman and El-Yaniv 2017, Selective Classification for Deep Neural Networks,
https://arxiv.org/abs/1705.08500).
"""

import math

import numpy as np

from classifier.core.types import BoolArray, Float64Array
from classifier.metrics.bootstrap import Sampling, Weights, fraction_interval, interval, resamples
from classifier.metrics.thresholds import DIGITS, midway

STEPS = 20  # coverages that are tested in turn: of 5, 10 … 100 %
Interval = tuple[float, float, float]  # value, low end, high end


def curve(confidence: Float64Array, right: BoolArray, at: Float64Array) -> Float64Array:
    """Risk at the coverages ``at`` (0..1): of the surest images, those of equal confidence shared
    out evenly. At a coverage of 0 it is that of the surest image."""
    covered, wrong = _covered(confidence, right)
    count = len(right)
    numbers = np.maximum(at * count, 1)
    return np.interp(numbers, np.append(0, covered), np.append(0, wrong)) / numbers


def _covered(confidence: Float64Array, right: BoolArray) -> tuple[Float64Array, Float64Array]:
    """How many images have at least each distinct confidence, falling, and how many are wrong."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return np.asarray(ends + 1, np.float64), np.cumsum(~right[order])[ends].astype(np.float64)


def area(confidence: Float64Array, right: BoolArray, weights: Weights) -> Weights:
    """Area under the risk-coverage curve [B]: the mean, over images, of the risk among those that
    are at least as sure.

    Args:
        confidence: [N].
        right: [N].
        weights: [N, B] how often each image counts in each of B resamples.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked, drawn = confidence[order], weights[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    covered = np.cumsum(drawn, axis=0, dtype=np.float64)[ends]
    wrong = np.cumsum(drawn * ~right[order, None], axis=0, dtype=np.float64)[ends]
    own = np.diff(covered, axis=0, prepend=0)
    found: Weights = (own * wrong / np.maximum(covered, 1)).sum(axis=0) / covered[-1]
    return found


def area_with_interval(confidence: Float64Array, right: BoolArray, sampling: Sampling) -> Interval:
    """`area` and the ends of its bootstrap interval; nan where no image is wrong."""
    drawn = np.concatenate(
        [
            area(confidence, right, weights)
            for weights in resamples(len(right), sampling.samples, sampling.seed)
        ]
    )
    value = float(area(confidence, right, np.ones((len(right), 1)))[0])
    ends = (math.nan, math.nan) if right.all() else interval(drawn, sampling.confidence)
    return value, float(ends[0]), float(ends[1])


def fewest(target: float, certainty: float) -> int:
    """The fewest images that can show an accuracy of at least ``target`` with this certainty:
    where all of them are right."""
    return math.ceil(math.log(1 - certainty) / math.log(target) - 1e-9)


def sure_from(
    confidence: Float64Array, right: BoolArray, target: float, certainty: float
) -> float | None:
    """The lowest confidence above which answers are right as often as promised.

    The surest 5, 10 … 100 % of the images are tested in this order: is the Clopper-Pearson lower
    bound of their accuracy, at ``certainty``, at least ``target``? The first that fails ends it. A
    sequence that is fixed beforehand needs no correction for the number of tests: to promise too
    much, the first promise that does not hold must pass its test (Bauer 1991, Multiple testing in
    clinical trials; Angelopoulos et al. 2021, Learn then Test, https://arxiv.org/abs/2110.01052).
    It begins with as many images as could pass at all (`fewest`), which no label has a say in.

    Args:
        confidence: [N] of the answers to images that stand for those to come.
        right: [N] whether they are right.
        target: accuracy, 0 to 1.
        certainty: probability, 0 to 1, over the draw of these images, that the accuracy of all
            images above the result is at least ``target``.

    Returns:
        The confidence, 0 to 1; None where no test is passed.
    """
    from scipy.stats import binom

    if not len(right):
        return None
    rounded = np.round(confidence, DIGITS)
    covered, wrong = _covered(rounded, right)
    levels = -np.unique(-rounded)
    steps = np.ceil(len(right) * np.arange(1, STEPS + 1) / STEPS - 1e-9)
    passed = None
    for step in steps[steps >= fewest(target, certainty)]:
        last = int(np.searchsorted(covered, step))  # images of equal confidence go together
        # The bound is below the target exactly where so few mistakes are this likely.
        if binom.cdf(wrong[last], covered[last], 1 - target) > 1 - certainty:
            break
        passed = last
    return None if passed is None else midway(levels, passed)


def promisable(confidence: Float64Array, right: BoolArray, certainty: float) -> float | None:
    """The highest target, in steps of 0.1 %, for which `sure_from` finds a confidence."""
    targets = (target / 1000 for target in range(999, 0, -1))
    return next(
        (t for t in targets if sure_from(confidence, right, t, certainty) is not None), None
    )


def answered(sure: BoolArray, right: BoolArray, sampling: Sampling) -> dict[str, Interval]:
    """Coverage, and accuracy among the images [N] that are ``sure``, each with its interval."""
    whole = np.array([[sure.sum(), len(sure)], [(sure & right).sum(), sure.sum()]], float)
    each = np.stack([sure, sure & right]).astype(np.float32)
    drawn = []
    for weights in resamples(len(sure), sampling.samples, sampling.seed):
        covered, hits = each @ weights
        with np.errstate(invalid="ignore"):
            drawn.append(np.stack([covered / len(sure), hits / covered]))
    with np.errstate(invalid="ignore"):
        fractions = whole[:, 0] / whole[:, 1]
    parts = np.concatenate(drawn, axis=-1)
    low, high = fraction_interval(fractions, whole[:, 1], parts, sampling.confidence)
    return {
        name: (float(fractions[row]), float(low[row]), float(high[row]))
        for row, name in enumerate(("coverage", "accuracy"))
    }
