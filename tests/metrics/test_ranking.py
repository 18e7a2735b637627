"""ROC and precision-recall curves against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from classifier.metrics.ranking import areas, pr_curve, roc_curve


def ranked(ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    positive = generator.uniform(size=300) < 0.2
    scores = generator.normal(size=300) + positive
    return (scores.round(1) if ties else scores), positive


@pytest.mark.parametrize("ties", [True, False])
def test_curves_lie_on_those_of_scikit_learn(ties: bool) -> None:
    scores, positive = ranked(ties)
    false, true, _ = metrics.roc_curve(positive, scores)
    at = np.linspace(0.001, 1, 50)
    assert roc_curve(scores, positive, at) == pytest.approx(np.interp(at, false, true))
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    # Precision at the highest threshold that reaches a recall; the list there ends with it.
    reached = [precision[np.flatnonzero(recall >= r - 1e-12)[-1]] for r in at]
    assert pr_curve(scores, positive, at) == pytest.approx(reached)


def test_weights_count_as_repeated_images() -> None:
    scores, positive = ranked()
    weights = np.random.default_rng(1).integers(0, 4, (300, 5)).astype(np.float32)
    auc, precision = areas(scores, positive, weights)
    for column in range(5):
        rows = np.repeat(np.arange(300), weights[:, column].astype(int))
        expected = metrics.roc_auc_score(positive[rows], scores[rows])
        assert auc[column] == pytest.approx(expected, rel=1e-6)
        expected = metrics.average_precision_score(positive[rows], scores[rows])
        assert precision[column] == pytest.approx(expected, rel=1e-6)


def test_what_cannot_be_ranked_is_not_a_number() -> None:
    scores = np.array([0.1, 0.9, 0.5])
    for positive in (np.zeros(3, bool), np.ones(3, bool)):
        assert np.isnan(roc_curve(scores, positive, np.array([0.0, 1.0]))).all()
        assert np.isnan(areas(scores, positive, np.ones((3, 1)))[0]).all()
    assert np.isnan(pr_curve(scores, np.zeros(3, bool), np.array([0.5]))).all()
    assert areas(scores, np.ones(3, bool), np.ones((3, 1)))[1] == [1.0]
