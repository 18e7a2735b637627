"""Logits of many classes take half the bytes and say the same."""

import numpy as np
from scipy.special import log_softmax

from classifier.metrics.outcomes import Outcomes
from classifier.metrics.stored_logits import WHOLE_CLASSES, stored


def made_up(images: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a network that is right now and then, around 30, and labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, images)
    logits = generator.normal(30, 3, (images, classes)).astype(np.float32)
    logits[np.arange(images), labels] += 8
    return logits, labels


def test_logits_of_few_classes_stay_as_they_are() -> None:
    logits, _ = made_up(20, WHOLE_CLASSES)
    kept = stored(logits)
    assert kept.dtype == np.float32
    assert (kept == logits).all()


def test_those_of_many_give_the_same_predictions_and_almost_the_same_probabilities() -> None:
    logits, labels = made_up(3000, 1000)
    kept = stored(logits)
    assert kept.nbytes == logits.nbytes / 2
    before, after = Outcomes(logits, labels, 1.5), Outcomes(kept, labels, 1.5)
    assert (after.predicted == before.predicted).all()
    assert (after.runner_up == before.runner_up).mean() > 0.999
    np.testing.assert_allclose(after.confidence, before.confidence, rtol=1e-3)
    np.testing.assert_allclose(after.calibrated_confidence, before.calibrated_confidence, rtol=1e-3)
    np.testing.assert_allclose(after.loss, before.loss, atol=0.008)
    assert abs(after.loss.mean() - before.loss.mean()) < 1e-4


def test_near_leaders_do_not_become_ties() -> None:
    """Plain float16 has steps of 0.016 at 20, so it calls these two equal."""
    logits = np.full((1, 200), -300, np.float32)
    logits[0, 7], logits[0, 150] = 20.0, 20.001
    assert logits.astype(np.float16).argmax() == 7
    assert stored(logits).argmax() == 150


def test_logits_that_float16_cannot_hold_stay_finite() -> None:
    logits = np.zeros((2, 200), np.float32)
    logits[0, 3], logits[1, 5] = 1e6, -1e6
    kept = stored(logits)
    assert np.isfinite(kept).all()
    assert np.isfinite(log_softmax(kept.astype(float), axis=1)).all()
