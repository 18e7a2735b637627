"""Confident learning finds labels that were made wrong on purpose."""

import numpy as np
import pytest

from classifier.evaluation import label_errors
from classifier.evaluation.label_errors import (
    error_probabilities,
    find_label_errors,
    unlikely_labels,
)


def noisy(count: int = 3000, classes: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of a good network, labels of which 5 % are wrong, and the true classes."""
    generator = np.random.default_rng(0)
    true = generator.integers(0, classes, count)
    logits = generator.normal(size=(count, classes)).astype(np.float32)
    logits[np.arange(count), true] += 5
    labels = true.copy()
    wrong = generator.choice(count, count // 20, replace=False)
    labels[wrong] = (true[wrong] + generator.integers(1, classes, len(wrong))) % classes
    return logits, labels, true


def sampled(fraction: float, gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that mean what they say, labels of which a fraction is wrong, and which are."""
    generator = np.random.default_rng(1)
    true = generator.integers(0, 10, 4000)
    seen = generator.normal(size=(4000, 10))
    seen[np.arange(4000), true] += gap
    wrong = generator.random(4000) < fraction
    labels = np.where(wrong, (true + generator.integers(1, 10, 4000)) % 10, true)
    return (gap * seen).astype(np.float32), labels, wrong  # Bayes' rule for normal distributions


def test_wrong_labels_are_found_and_the_right_ones_suggested() -> None:
    logits, labels, true = noisy()
    found = find_label_errors(logits, labels)
    wrong = labels[found.rows] != true[found.rows]
    assert wrong.mean() > 0.9
    assert wrong.sum() > 0.7 * (labels != true).sum()
    assert (found.suggested == true[found.rows])[wrong].mean() > 0.95
    assert (np.diff(found.score) <= 0).all()
    assert ((found.score > -1) & (found.score <= 1)).all()


def test_a_hand_made_confident_joint() -> None:
    """Thresholds are 0.8 and 0.7: the last image reaches the second, and not its own."""
    first = np.array([0.9, 0.9, 0.9, 0.3, 0.3, 0.5, 0.1])
    labels = np.array([0, 0, 0, 1, 1, 0, 0])
    logits = np.log(np.column_stack([first, 1 - first]))
    found = find_label_errors(logits, labels)
    assert found.rows.tolist() == [6]
    assert found.suggested.tolist() == [1]
    assert found.score == pytest.approx([0.8])


def test_unlikely_labels_are_those_the_network_contradicts_least_likely_first() -> None:
    logits, labels, true = noisy()
    found = unlikely_labels(logits, labels, 0.7)
    assert set(found.rows.tolist()) == set(np.flatnonzero(logits.argmax(1) != labels).tolist())
    assert (found.suggested == logits.argmax(1)[found.rows]).all()
    assert (np.diff(found.score) <= 0).all()
    own = np.exp(logits / 0.7)
    own = own[np.arange(len(own)), labels] / own.sum(1)
    assert found.score == pytest.approx(1 - own[found.rows], abs=1e-5)
    wrong = labels != true
    assert wrong[found.rows[: wrong.sum()]].mean() > 0.9


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels, _ = noisy(300)
    whole = find_label_errors(logits, labels)
    monkeypatch.setattr(label_errors, "_CHUNK", 70)
    parts = find_label_errors(logits, labels)
    assert (parts.rows == whole.rows).all()
    assert (parts.score == whole.score).all()


def test_perfect_labels_and_absent_classes() -> None:
    logits = np.full((5, 4), -9.0, np.float32)
    logits[:, 1] = 9
    assert len(find_label_errors(logits, np.ones(5, np.int64)).rows) == 0
    # Class 1 is what the network sees, but no label vouches for it.
    assert len(find_label_errors(logits, np.zeros(5, np.int64)).rows) == 0


@pytest.mark.parametrize("sure", [0.4, 1.0, 3.0])  # factor on the logits: the temperature undoes it
def test_as_many_labels_are_wrong_as_are_expected_to_be(sure: float) -> None:
    logits, labels, wrong = sampled(fraction=0.05, gap=3.0)
    probability = error_probabilities((logits * sure).astype(np.float32), labels)
    assert probability.sum() == pytest.approx(wrong.sum(), rel=0.1)
    likely = probability >= 0.5
    assert likely.sum() > 0.5 * wrong.sum()
    assert probability[likely].sum() == pytest.approx(wrong[likely].sum(), rel=0.1)


def test_mistakes_of_a_weak_network_are_not_taken_for_wrong_labels() -> None:
    logits, labels, _ = sampled(fraction=0.0, gap=2.0)
    assert (logits.argmax(1) != labels).mean() > 0.2
    assert (error_probabilities(logits, labels) < 0.5).all()


def test_error_probabilities_of_few_images_and_of_one_class() -> None:
    assert error_probabilities(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)).shape == (0,)
    one = error_probabilities(np.ones((4, 1), np.float32), np.zeros(4, np.int64))
    assert one.tolist() == [0, 0, 0, 0]
    alike = error_probabilities(np.zeros((4, 3), np.float32), np.zeros(4, np.int64))
    assert np.isfinite(alike).all()
