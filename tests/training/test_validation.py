"""The scores of an epoch on the val split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, counting
from classifier.training.validation import validation_scores


@given(seed=st.integers(0, 999), count=st.integers(1, 40), classes=st.integers(2, 9))
@settings(max_examples=100, deadline=None)
@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label")
def test_training_and_evaluation_score_alike(seed: int, count: int, classes: int) -> None:
    """With few images, classes that are predicted and never right are many."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    logits = random.normal(size=(count, classes)).astype(np.float32)
    options = {"average": "macro", "zero_division": 0}
    predicted = logits.argmax(1)
    expected = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "precision_macro": metrics.precision_score(labels, predicted, **options),
        "f1_macro": metrics.f1_score(labels, predicted, **options),
    }
    trained = validation_scores(logits, labels)
    evaluated = counting(Outcomes(logits, labels), EvaluateParams(64, 2, 0), np.ones((count, 1)))[0]
    for name, value in expected.items():
        assert trained[name] == pytest.approx(value), name
        assert evaluated[name][0] == pytest.approx(value), name
    assert trained["loss"] == pytest.approx(evaluated["loss"][0])
