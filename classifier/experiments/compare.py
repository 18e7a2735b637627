"""Is one model better than another, or only luckier with these images?

Everything is paired: both models answered the same test images, and every resample of the
bootstrap draws the same images for both, so that what makes an image hard for all cancels out.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from classifier.core.types import Float64Array
from classifier.experiments.revisions import Predictions, same_images
from classifier.metrics.bootstrap import interval, resamples
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import FEWEST, RANKING_LOOKS, EvaluateParams, counting, ranking

Verdict = Literal["better", "worse", "no evidence"]

FEW = 25  # images on which the models disagree, below which McNemar's test is done exactly


@dataclass(frozen=True)
class Difference:
    """A figure of both models; ``low`` and ``high`` bound the difference, nan if undefined."""

    base: float
    other: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """Other minus base."""
        return self.other - self.base


@dataclass(frozen=True)
class Comparison:
    """``other`` seen from ``base``, names of revisions, on the test images that both answered.

    ``p`` is McNemar's, ``corrected`` the same after Holm's correction for the number of
    comparisons made together. ``classes`` gives the recall of each class in both, nan for a class
    without images; ``params`` the values that differ, None where a parameter is not there.
    ``fixed`` and ``broken`` are ids of images that only ``other`` or only ``base`` gets right.
    """

    base: str
    other: str
    images: int
    confidence: float
    metrics: Mapping[str, Difference]
    p: float
    corrected: float
    verdict: Verdict
    classes: Mapping[str, tuple[float, float]]
    fixed: tuple[str, ...]
    broken: tuple[str, ...]
    params: Mapping[str, tuple[Any, Any]]


def compare(parts: Sequence[Predictions], params: EvaluateParams) -> list[Comparison]:
    """Compare every model but the first with the first.

    The verdict is on accuracy: "better" or "worse" when McNemar's p-value, corrected by Holm's
    method, is below 1 - confidence; "no evidence" otherwise, which is not "equal".

    Args:
        parts: test predictions of two or more models for the same images.
        params: seed, number and confidence of the bootstrap, calibration bins, top k.

    Raises:
        UserError: the models were tested on different images, labels or classes.
    """
    same_images(parts)
    if None in [part.temperature for part in parts]:  # the same figures of all
        parts = [dataclasses.replace(part, temperature=None) for part in parts]
    outcomes = [part.outcomes for part in parts]
    drawn = _resampled(outcomes, params)
    everything = np.ones((len(parts[0].labels), 1))
    whole = [_figures(outcome, params, everything, ranked=1) for outcome in outcomes]
    p_values = [paired(outcomes[0], other) for other in outcomes[1:]]
    corrected = holm(p_values)
    result = []
    for number, part in enumerate(parts[1:], start=1):
        metrics = {}
        for name in whole[0]:
            low, high = interval(drawn[number][name] - drawn[0][name], params.confidence)
            values = float(whole[0][name][0]), float(whole[number][name][0])
            metrics[name] = Difference(*values, float(low), float(high))
        p = corrected[number - 1]
        change = metrics["accuracy"].change
        verdict = judged(change, p, params.confidence)
        right, base_right = outcomes[number].right, outcomes[0].right
        result.append(
            Comparison(
                base=parts[0].name,
                other=part.name,
                images=len(part.labels),
                confidence=params.confidence,
                metrics=metrics,
                p=p_values[number - 1],
                corrected=p,
                verdict=verdict,
                classes=_recalls(parts[0], outcomes[0], outcomes[number]),
                fixed=tuple(part.ids[right & ~base_right].tolist()),
                broken=tuple(part.ids[base_right & ~right].tolist()),
                params=differing(parts[0].params, part.params),
            )
        )
    return result


def paired(base: Outcomes, other: Outcomes) -> float:
    """McNemar's p-value of two models' answers to the same images."""
    return mcnemar(int((other.right & ~base.right).sum()), int((base.right & ~other.right).sum()))


def judged(change: float, p: float, confidence: float) -> Verdict:
    """The verdict on a change of accuracy."""
    if p >= 1 - confidence:
        return "no evidence"
    return "better" if change > 0 else "worse"


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value that both models are right equally often (McNemar 1947).

    With few disagreements the exact binomial test, with many its mid-p variant, which is less
    conservative and keeps its level: Fagerland, Lydersen and Laake 2013,
    https://doi.org/10.1186/1471-2288-13-91.

    Args:
        gained: images that only the second model gets right.
        lost: images that only the first model gets right.
    """
    from scipy.stats import binom, binomtest

    disagreements = gained + lost
    if not disagreements:
        return 1.0
    p = float(binomtest(gained, disagreements).pvalue)
    if disagreements >= FEW:
        p -= float(binom.pmf(gained, disagreements, 0.5))
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for several comparisons (Holm 1979), in the given order."""
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def differing(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The parameters that are not the same: {key: (value in base, value in other)}."""
    keys = sorted(base.keys() | other.keys())
    return {key: (base.get(key), other.get(key)) for key in keys if base.get(key) != other.get(key)}


def _figures(
    outcomes: Outcomes, params: EvaluateParams, weights: Float64Array, ranked: int
) -> dict[str, Float64Array]:
    """Every figure for every resample, [B] each; those of ranking for the first ``ranked``."""
    figures = counting(outcomes, params, weights)[0]
    if ranked > 0:
        figures |= ranking(outcomes, weights[:, :ranked])[0]
    return figures


def _resampled(
    outcomes: Sequence[Outcomes], params: EvaluateParams
) -> list[dict[str, Float64Array]]:
    """The figures of every model in the same resamples."""
    images, classes = outcomes[0].logits.shape
    blocks: list[dict[str, list[Float64Array]]] = [{} for _ in outcomes]
    # Ranking is slow; it gets a fraction of the time that evaluate gives it.
    ranked = max(FEWEST, RANKING_LOOKS // (4 * images * classes))
    for weights in resamples(images, params.bootstrap_samples, params.seed):
        for outcome, block in zip(outcomes, blocks, strict=True):
            for name, values in _figures(outcome, params, weights, ranked).items():
                block.setdefault(name, []).append(values)
        ranked -= weights.shape[1]
    return [{name: np.concatenate(parts) for name, parts in block.items()} for block in blocks]


def _recalls(part: Predictions, base: Outcomes, other: Outcomes) -> dict[str, tuple[float, float]]:
    number = len(part.classes)
    count = np.bincount(part.labels, minlength=number)
    with np.errstate(invalid="ignore"):
        first, second = (
            np.bincount(part.labels[model.right], minlength=number) / count
            for model in (base, other)
        )
    return {
        name: (float(a), float(b)) for name, a, b in zip(part.classes, first, second, strict=True)
    }
