"""Temperature scaling and the calibration error."""

import numpy as np
import pytest
import scipy.special
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from classifier.metrics.reliability import reliability
from classifier.models.temperature import LIMITS, fit_temperature


def calibrated(count: int, classes: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``scale`` times those from which the labels were drawn."""
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(count, classes))
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return (scale * logits).astype(np.float32), labels


@pytest.mark.parametrize("scale", [0.4, 1.0, 5.0])
def test_temperature_undoes_a_scale(scale: float) -> None:
    assert fit_temperature(*calibrated(20_000, 5, scale)) == pytest.approx(scale, rel=0.03)


def test_temperature_has_the_least_cross_entropy() -> None:
    logits, labels = calibrated(3000, 4, 2.0)

    def loss(temperature: float) -> float:
        return log_loss(labels, scipy.special.softmax(logits / temperature, axis=1))

    best = minimize_scalar(loss, bounds=(0.5, 5), method="bounded").x
    # One softened image of 3000 moves it a little.
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=2e-3)


def test_perfect_validation_leaves_doubt() -> None:
    labels = np.arange(100) % 4
    temperature = fit_temperature(np.eye(4, dtype=np.float32)[labels], labels)
    share = np.exp(1 / temperature) / (np.exp(1 / temperature) + 3)
    assert share == pytest.approx(1 - 1 / 102, rel=1e-4)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 3), np.float32), np.zeros(0, np.int64)),
        (np.zeros((5, 3), np.float32), np.zeros(5, np.int64)),
        (np.full((4, 3), 1e4, np.float32) * [1, 0, -1], np.array([0, 0, 0, 0])),
        (np.full((4, 3), 1e4, np.float32) * [1, 0, -1], np.array([2, 2, 2, 2])),
    ],
)
def test_awkward_logits_give_a_usable_temperature(logits: np.ndarray, labels: np.ndarray) -> None:
    assert LIMITS[0] <= fit_temperature(logits, labels) <= LIMITS[1]


def test_reliability_is_scikit_learns_calibration_curve() -> None:
    generator = np.random.default_rng(0)
    confidence = generator.uniform(size=1000).round(2)
    right = generator.uniform(size=1000) < confidence**2
    found = reliability(confidence, right, 10)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.confidence == pytest.approx(mean)
    assert found.error == pytest.approx(np.sum(found.count * np.abs(accuracy - mean)) / 1000)


def test_empty_bins_do_not_count() -> None:
    found = reliability(np.array([0.95, 0.95]), np.array([True, False]), 10)
    assert found.count.tolist() == [0] * 9 + [2]
    assert np.isnan(found.accuracy[0])
    assert found.error == pytest.approx(0.45)
