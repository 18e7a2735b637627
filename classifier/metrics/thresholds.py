"""From which probability on an image is called a class: thresholds by a rule, and their figures.

A threshold lies midway between two neighboring probabilities of validation images, so that none
hangs on the last digit of one image. Probabilities count to `DIGITS` decimals: backends in single
precision give no more.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from classifier.core.types import BoolArray, Float64Array
from classifier.metrics.bootstrap import Sampling, fraction_interval, group_sums, resamples
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.ranking import counts

DIGITS = 6
RULES = "0.5, max_f1, youden, recall>=0.95, precision>=0.99 or cost(fp=1,fn=10)"
_NUMBER = r"(\d+\.?\d*|\.\d+)"
_AT_LEAST = re.compile(rf"(recall|precision)\s*>=\s*{_NUMBER}")
_COST = re.compile(rf"cost\(\s*fp\s*=\s*{_NUMBER}\s*,\s*fn\s*=\s*{_NUMBER}\s*\)")

# (true positives, false positives, positives, negatives) -> the higher, the better
Goal = Callable[[Float64Array, Float64Array, float, float], Float64Array]


@dataclass(frozen=True)
class Rule:
    """A rule of ``evaluate.threshold``: a ``fixed`` number, or a ``goal`` to be the best at.

    ``least`` of the figure ``needs`` ("recall" or "precision") must be there.
    """

    text: str
    fixed: float | None = None
    goal: Goal | None = None
    needs: str = ""
    least: float = 0.0


class UnreachableError(Exception):
    """No threshold does what the rule asks for; the text says what can be reached."""


def rule(value: float | str) -> Rule:
    """The rule that a value of ``evaluate.threshold`` stands for.

    Raises:
        ValueError: it stands for none.
    """
    text = str(value).strip()
    if re.fullmatch(_NUMBER, text) and 0 < float(text) < 1:
        return Rule(text, fixed=float(text))
    if text in ("max_f1", "youden"):
        return Rule(text, goal=_f1 if text == "max_f1" else _youden)
    if (match := _AT_LEAST.fullmatch(text)) and 0 < float(match[2]) <= 1:
        goal = _fewest_alarms if match[1] == "recall" else _most_found
        return Rule(text, goal=goal, needs=match[1], least=float(match[2]))
    if (match := _COST.fullmatch(text)) and float(match[1]) + float(match[2]) > 0:
        return Rule(text, goal=_cost(float(match[1]), float(match[2])))
    raise ValueError(f"{value!r} is no rule: give {RULES}, with numbers of your own")


def _f1(true: Float64Array, false: Float64Array, positives: float, _: float) -> Float64Array:
    return 2 * true / (positives + true + false)


def _youden(true: Float64Array, false: Float64Array, p: float, n: float) -> Float64Array:
    """Recall plus specificity (Youden 1950, Index for rating diagnostic tests)."""
    return true / p - false / n


def _fewest_alarms(true: Float64Array, false: Float64Array, _: float, __: float) -> Float64Array:
    return -false


def _most_found(true: Float64Array, false: Float64Array, _: float, __: float) -> Float64Array:
    return true


def _cost(alarm: float, missed: float) -> Goal:
    return lambda true, false, positives, _: -(alarm * false + missed * (positives - true))


def threshold(found: Rule, scores: Float64Array, positive: BoolArray) -> float:
    """The threshold, 0 to 1, that does best by a rule; the highest of several.

    Args:
        scores: [N] calibrated probabilities of the class, of validation images.
        positive: [N] whether each is of the class.

    Raises:
        UnreachableError: no threshold satisfies the rule.
    """
    if found.fixed is not None:
        return found.fixed
    assert found.goal is not None
    positives, negatives = float(positive.sum()), float((~positive).sum())
    if not positives or not negatives:
        which = "none of this class" if not positives else "none of another class"
        raise UnreachableError(f"validation has {which}")
    levels, true, false = counts(np.round(scores, DIGITS), positive)
    true, false = true[1:], false[1:]  # a threshold that no image reaches finds nothing
    value = found.goal(true, false, positives, negatives)
    if found.needs:
        reached = true / (positives if found.needs == "recall" else true + false)
        # Quotients of counts: 19 of 20 is 0.95.
        allowed = reached >= found.least - 1e-12
        if not allowed.any():
            best = int(reached.argmax())
            raise UnreachableError(
                f"the highest {found.needs} on validation is {reached[best]:.4f}, with a recall of "
                f"{true[best] / positives:.4f}"
            )
        value = np.where(allowed, value, -np.inf)
    best = int(np.flatnonzero(value >= value.max() - 1e-12)[0])
    return midway(levels, best)


def midway(levels: Float64Array, last: int) -> float:
    """A number that is below the level ``last`` of falling levels and above the next, 0 below the
    last of all."""
    if last + 1 == len(levels):
        return 0.0
    return round(float(levels[last] + levels[last + 1]) / 2, DIGITS + 1)


@dataclass(frozen=True)
class Figures:
    """Figures by name, of C classes: value [C], low end [C], high end [C]; nan where undefined."""

    value: Mapping[str, Float64Array]
    low: Mapping[str, Float64Array]
    high: Mapping[str, Float64Array]


def operating_points(outcomes: Outcomes, at: Mapping[int, float], sampling: Sampling) -> Figures:
    """What calling an image a class from its threshold on comes to, each class against the rest.

    precision, recall, f1, specificity and false_positive_rate, with bootstrap intervals.

    Args:
        outcomes: of test images; their calibrated probabilities count.
        at: thresholds by class number.
        sampling: of the bootstrap.
    """
    labels = list(at)
    called = [np.flatnonzero(outcomes.calibrated_probability(k) >= at[k]) for k in labels]
    images = np.concatenate(called)
    groups = np.repeat(np.arange(len(labels)), [len(part) for part in called])
    hit = outcomes.labels[images] == np.array(labels)[groups]

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        """Parts of wholes, as pairs of sums [C, B]."""
        number, total = len(labels), weights.sum(axis=0)
        actual = group_sums(weights, outcomes.labels, outcomes.classes)[labels]
        flagged = group_sums(weights, groups, number, images=images)
        true = group_sums(weights, groups[hit], number, images=images[hit])
        false, others = flagged - true, total - actual
        return {
            "precision": np.stack([true, flagged]),
            "recall": np.stack([true, actual]),
            "f1": np.stack([true, flagged + actual - true]),
            "specificity": np.stack([others - false, others]),
            "false_positive_rate": np.stack([false, others]),
        }

    whole = figures(np.ones((len(outcomes.labels), 1)))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in whole}
    for weights in resamples(len(outcomes.labels), sampling.samples, sampling.seed):
        for name, (part, of) in figures(weights).items():
            with np.errstate(invalid="ignore"):
                drawn[name].append(part / of)
    value, low, high = {}, {}, {}
    for name, (part, of) in whole.items():
        with np.errstate(invalid="ignore"):
            fraction = (part / of)[:, 0]
        parts = np.concatenate(drawn[name], axis=-1)
        ends = fraction_interval(fraction, of[:, 0], parts, sampling.confidence)
        # F1 = 2J / (1 + J) grows with J, the fraction of hits among what is the class or is called
        # it.
        value[name], low[name], high[name] = (
            np.asarray(2 * end / (1 + end) if name == "f1" else end, np.float64)
            for end in (fraction, *ends)
        )
    return Figures(value, low, high)
