"""Risk, coverage and the promise of *not sure*: what they are, and that the promise is kept."""

import numpy as np
import pytest
from scipy.stats import beta

from classifier.metrics.bootstrap import Sampling
from classifier.metrics.selective import (
    answered,
    area,
    area_with_interval,
    curve,
    fewest,
    promisable,
    sure_from,
)

SAMPLING = Sampling(samples=300, confidence=0.95, seed=0)
Drawn = tuple[np.ndarray, np.ndarray]


def calibrated(generator: np.random.Generator, count: int) -> Drawn:
    """Confidence of two classes, which is right as often as it says."""
    confidence = 1 / (1 + np.exp(-np.abs(generator.normal(2.5, 1.5, count))))
    return confidence, generator.random(count) < confidence


def too_sure(generator: np.random.Generator, count: int) -> Drawn:
    """A network that says 99 % and more where it is right for fewer, many of them equal."""
    confidence, _ = calibrated(generator, count)
    said = np.round(1 - (1 - confidence) ** 2, 2)
    return said, generator.random(count) < confidence


def wrong_at_the_top(generator: np.random.Generator, count: int) -> Drawn:
    """Of the surest tenth, 6 % have a wrong label."""
    confidence, right = calibrated(generator, count)
    flipped = (confidence > 0.985) & (generator.random(count) < 0.06)
    return confidence, right & ~flipped


def never_right_enough(generator: np.random.Generator, count: int) -> Drawn:
    """Whatever the confidence, a little less than any of the targets: each promise is broken."""
    target = {150: 0.9, 600: 0.95, 3000: 0.98}.get(count, 0.0)
    return generator.random(count), generator.random(count) < target - 1e-6


@pytest.mark.parametrize("draw", [calibrated, too_sure, wrong_at_the_top, never_right_enough])
@pytest.mark.parametrize(("count", "target"), [(150, 0.9), (600, 0.95), (3000, 0.98)])
def test_the_promise_is_kept_as_often_as_stated(draw, count: int, target: float) -> None:  # type: ignore[no-untyped-def]
    generator = np.random.default_rng(count)
    confidence, right = draw(generator, 1_000_000)  # all images to come
    kept = promised = 0
    for _ in range(200):
        found = sure_from(*draw(generator, count), target, 0.9)
        promised += found is not None
        kept += found is None or right[confidence >= found].mean() >= target
    assert kept >= 0.9 * 200
    assert promised > 100 or draw is not calibrated


def test_the_plug_in_estimate_would_not_keep_it() -> None:
    generator = np.random.default_rng(0)
    confidence, right = calibrated(generator, 1_000_000)
    kept = 0
    for _ in range(200):
        said, correct = calibrated(generator, 600)
        order = np.argsort(-said)
        accuracy = np.cumsum(correct[order]) / np.arange(1, 601)
        found = said[order][np.flatnonzero(accuracy >= 0.95)[-1]]
        kept += right[confidence >= found].mean() >= 0.95
    assert kept < 0.75 * 200


def test_the_test_is_the_bound_of_clopper_and_pearson() -> None:
    confidence = np.linspace(0.999, 0.5, 400)
    for mistakes in range(12):
        right = np.ones(400, bool)
        right[400 - mistakes :] = False
        bound = beta.ppf(0.05, 400 - mistakes, mistakes + 1)
        for target, whole in ((bound - 1e-6, True), (bound + 1e-6, False)):
            assert (sure_from(confidence, right, target, 0.95) == 0) == whole


def test_the_surest_come_first_and_the_first_failure_ends_it() -> None:
    confidence = np.linspace(0.9999, 0.5, 1000)
    right = np.ones(1000, bool)
    right[600:] = False
    found = sure_from(confidence, right, 0.95, 0.95)
    assert found is not None
    assert 600 <= (confidence >= found).sum() < 650
    right = np.ones(1000, bool)
    right[100:150] = False  # in the midst of the surest: what comes after cannot make up for it
    found = sure_from(confidence, right, 0.95, 0.95)
    assert found is not None
    assert (confidence >= found).sum() == 100


def test_images_of_equal_confidence_go_together() -> None:
    confidence = np.repeat([0.99, 0.9, 0.6], [90, 500, 410])
    right = np.arange(1000) < 590
    assert sure_from(confidence, right, 0.95, 0.95) == pytest.approx(0.75)
    assert sure_from(np.ones(1000), right, 0.95, 0.95) is None


def test_few_images_cannot_promise_much() -> None:
    assert (fewest(0.95, 0.95), fewest(0.99, 0.95), fewest(0.995, 0.95)) == (59, 299, 598)
    right = np.ones(144, bool)
    confidence = np.linspace(0.6, 0.99, 144)
    assert sure_from(confidence, right, 0.99, 0.95) is None
    assert promisable(confidence, right, 0.95) == 0.979  # 0.05 ** (1 / 144), rounded down
    assert sure_from(confidence, right, 0.979, 0.95) == 0
    assert sure_from(confidence[:0], right[:0], 0.5, 0.95) is None
    assert promisable(confidence[:0], right[:0], 0.95) is None


def test_the_curve_and_its_area_are_those_of_their_definition() -> None:
    generator = np.random.default_rng(3)
    confidence, right = too_sure(generator, 300)
    risks = [(~right[confidence >= one]).mean() for one in confidence]
    everything = np.ones((300, 1))
    assert area(confidence, right, everything)[0] == pytest.approx(np.mean(risks))
    weights = generator.integers(0, 3, (300, 1))
    drawn = np.repeat(np.arange(300), weights[:, 0])
    again = area(confidence[drawn], right[drawn], np.ones((len(drawn), 1)))
    assert area(confidence, right, weights) == pytest.approx(again)
    value, low, high = area_with_interval(confidence, right, SAMPLING)
    assert value == pytest.approx(np.mean(risks))
    assert low < value < high
    risk = curve(confidence, right, np.array([0.0, 0.5, 1.0]))
    assert risk[2] == pytest.approx((~right).mean())
    distinct = np.linspace(0.9, 0.5, 10)
    found = curve(distinct, np.arange(10) < 8, np.array([0.8, 0.9, 1.0]))
    assert found == pytest.approx([0, 1 / 9, 2 / 10])


def test_coverage_and_accuracy_of_the_answers() -> None:
    sure, right = np.arange(200) < 150, np.arange(200) % 10 > 0
    found = answered(sure, right, SAMPLING)
    assert found["coverage"][0] == 0.75
    assert found["accuracy"][0] == pytest.approx(0.9)
    for value, low, high in found.values():
        assert low < value < high
    none = answered(np.zeros(200, bool), right, SAMPLING)
    assert none["coverage"][0] == 0
    assert np.isnan(none["accuracy"]).all()
    value, low, high = area_with_interval(np.linspace(0, 1, 9), np.ones(9, bool), SAMPLING)
    assert value == 0
    assert np.isnan([low, high]).all()
