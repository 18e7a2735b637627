"""Resamples as weights, their sums, and percentiles."""

import numpy as np
import pytest
from scipy.stats import binomtest

from classifier.metrics import bootstrap
from classifier.metrics.bootstrap import group_sums, interval, resamples, wilson


def test_every_resample_draws_as_many_images(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resamples(50, 30, 1)), axis=1)
    assert whole.shape == (50, 30)
    assert (whole.sum(axis=0) == 50).all()
    assert 0 < (whole == 0).mean() < 0.5
    monkeypatch.setattr(bootstrap, "BLOCK", 50 * 7)
    parts = list(resamples(50, 30, 1))
    assert [part.shape[1] for part in parts] == [7, 7, 7, 7, 2]
    assert (np.concatenate(parts, axis=1) == whole).all()
    assert not (np.concatenate(list(resamples(50, 30, 2)), axis=1) == whole).all()


def test_group_sums() -> None:
    weights = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert group_sums(weights, np.array([1, 1, 0]), 3).tolist() == [[5, 6], [4, 6], [0, 0]]
    values = np.array([10.0, 1.0])
    found = group_sums(weights, np.array([0, 0]), 1, values, images=np.array([0, 2]))
    assert found.tolist() == [[15, 26]]


def test_interval_leaves_out_what_is_not_defined() -> None:
    values = np.array([np.arange(101.0), np.full(101, np.nan)])
    low, high = interval(values, 0.9)
    assert (low[0], high[0]) == pytest.approx((5, 95))
    assert np.isnan(low[1])
    assert np.isnan(high[1])
    values[0, 0] = np.nan
    assert interval(values[:1], 0.9)[0] > 5


def test_coverage_of_the_true_accuracy() -> None:
    """About 95 of 100 intervals hold the accuracy that the images were drawn with."""
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        right = (generator.uniform(size=400) < 0.8).astype(np.float64)
        shares = np.concatenate([right @ part / 400 for part in resamples(400, 300, seed)])
        low, high = interval(shares, 0.95)
        held += int(low <= 0.8 <= high)
    assert 180 <= held <= 199


def test_resamples_without_a_value_do_not_count_for_one_metric_or_many() -> None:
    values = np.array([0.1, np.nan, 0.3, 0.2])
    low, high = interval(values, 0.5)
    assert (low, high) == (pytest.approx(0.15), pytest.approx(0.25))
    low, high = interval(np.stack([values, np.full(4, np.nan)]), 0.5)
    np.testing.assert_allclose([low, high], [[0.15, np.nan], [0.25, np.nan]])


@pytest.mark.parametrize("right", [0, 1, 37, 40])
def test_wilson_is_scipys(right: int) -> None:
    low, high = wilson(np.array([right / 40]), np.array([40]), 0.9)
    expected = binomtest(right, 40).proportion_ci(0.9, "wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert low[0] <= right / 40 <= high[0]
