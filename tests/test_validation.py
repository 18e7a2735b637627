"""The scores of an epoch on the val split."""

import numpy as np
import pytest
from sklearn import metrics

from classifier.validation import validation_scores


def test_validation_scores_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    labels, logits = random.integers(0, 5, 200), random.normal(size=(200, 5))
    predicted = logits.argmax(1)
    found = validation_scores(logits, labels)
    options = {"average": "macro", "zero_division": 0}
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found == pytest.approx(
        {
            "loss": metrics.log_loss(labels, chances),
            "accuracy": metrics.accuracy_score(labels, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
            "precision_macro": metrics.precision_score(labels, predicted, **options),
            "f1_macro": metrics.f1_score(labels, predicted, **options),
        }
    )
