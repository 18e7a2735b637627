"""Thresholds by a rule, and their figures: against scikit-learn, and where there is none."""

import numpy as np
import pytest
from sklearn import metrics

from classifier.metrics.bootstrap import Sampling
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.thresholds import UnreachableError, operating_points, rule, threshold

SAMPLING = Sampling(samples=200, confidence=0.95, seed=0)


def scored(seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that rank a rare class well, some of them equal."""
    generator = np.random.default_rng(seed)
    positive = generator.random(count) < 0.1
    scores = 1 / (1 + np.exp(-generator.normal(3.0 * positive - 1.5, 1.0)))
    return np.where(generator.random(count) < 0.2, np.round(scores, 1), scores), positive


@pytest.mark.parametrize("seed", range(3))
def test_each_rule_does_the_best_of_all_thresholds(seed: int) -> None:
    scores, positive = scored(seed)

    def figures(at: float) -> dict[str, float]:
        called = scores >= at
        (_, fp), (fn, tp) = metrics.confusion_matrix(positive, called).tolist()
        return {
            "max_f1": metrics.f1_score(positive, called),
            "youden": metrics.balanced_accuracy_score(positive, called),
            "cost(fp=1,fn=10)": -(fp + 10 * fn),
            "recall": tp / (tp + fn),
            "precision": tp / max(1, tp + fp),
            "alarms": fp,
        }

    everywhere = [figures(at) for at in np.unique(scores)]
    for text in ("max_f1", "youden", "cost(fp=1,fn=10)"):
        found = figures(threshold(rule(text), scores, positive))[text]
        assert found == pytest.approx(max(one[text] for one in everywhere), abs=1e-12)
    found = figures(threshold(rule("recall>=0.95"), scores, positive))
    assert found["recall"] >= 0.95
    fewest = min(one["alarms"] for one in everywhere if one["recall"] >= 0.95)
    assert found["alarms"] == fewest
    found = figures(threshold(rule("precision>=0.8"), scores, positive))
    assert found["precision"] >= 0.8
    most = max(one["recall"] for one in everywhere if one["precision"] >= 0.8)
    assert found["recall"] == most


def test_a_threshold_lies_between_two_images() -> None:
    scores, positive = np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, False, True, True])
    assert threshold(rule("max_f1"), scores, positive) == 0.5
    assert threshold(rule("recall>=0.5"), scores, positive) == 0.75
    assert threshold(rule("recall>=1"), scores, positive) == 0.5
    assert threshold(rule(0.3), scores, positive) == 0.3
    assert threshold(rule("cost(fp=0,fn=1)"), scores, ~positive) == 0  # all are called


def test_a_rule_that_cannot_be_satisfied_says_what_can() -> None:
    scores, positive = np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True, True, False])
    with pytest.raises(UnreachableError, match=r"precision on validation is 0\.6667.*1\.0000"):
        threshold(rule("precision>=0.7"), scores, positive)
    with pytest.raises(UnreachableError, match="none of this class"):
        threshold(rule("max_f1"), scores, np.zeros(4, bool))
    with pytest.raises(UnreachableError, match="none of another class"):
        threshold(rule("youden"), scores, np.ones(4, bool))


@pytest.mark.parametrize(
    "value",
    ["maxf1", 0, 1, 1.5, -0.5, "recall>0.9", "recall>=1.5", "recall>=0", "cost(fp=0,fn=0)",
     "cost(1,10)", "precision>=", "", "nan", True],
)  # fmt: skip
def test_what_is_no_rule_is_refused(value: float | str) -> None:
    with pytest.raises(ValueError, match=r"is no rule: give 0\.5, max_f1"):
        rule(value)


def test_figures_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 4, 500)
    logits = generator.normal(size=(500, 4)).astype(np.float32)
    logits[np.arange(500), labels] += 1.5
    outcomes = Outcomes(logits, labels, 1.7)
    at = {0: 0.2, 2: 0.35, 3: 0.6}
    found = operating_points(outcomes, at, SAMPLING)
    for row, (k, limit) in enumerate(at.items()):
        actual, called = labels == k, outcomes.calibrated_probability(k) >= limit
        expected = {
            "precision": metrics.precision_score(actual, called),
            "recall": metrics.recall_score(actual, called),
            "f1": metrics.f1_score(actual, called),
            "specificity": metrics.recall_score(~actual, ~called),
            "false_positive_rate": 1 - metrics.recall_score(~actual, ~called),
        }
        assert set(found.value) == set(expected)
        for name, value in expected.items():
            assert found.value[name][row] == pytest.approx(value, abs=1e-6), name
            assert found.low[name][row] < value < found.high[name][row], name


def test_a_perfect_figure_has_an_interval_and_an_empty_one_none() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    logits = np.zeros((100, 2), np.float32)
    logits[np.arange(100), labels] = 3
    found = operating_points(Outcomes(logits, labels, 1.0), {1: 0.5}, SAMPLING)
    assert found.value["recall"][0] == 1
    assert 0.7 < found.low["recall"][0] < 0.8  # Wilson's, of 10 images
    none = operating_points(Outcomes(logits, labels, 1.0), {1: 0.999}, SAMPLING)
    assert none.value["recall"][0] == 0
    assert np.isnan([none.value["precision"][0], none.low["precision"][0]]).all()
