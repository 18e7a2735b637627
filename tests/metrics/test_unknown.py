"""Telling images of no class: scores and their AUROC are the literature's and scikit-learn's."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from classifier.metrics.neighbors import unit
from classifier.metrics.unknown import known_scores, separation

GENERATOR = np.random.default_rng(0)


def test_the_scores_are_those_of_their_papers() -> None:
    logits = GENERATOR.normal(size=(40, 6)).astype(np.float32) * 4
    embeddings, reference = (unit(GENERATOR.normal(size=(n, 5))) for n in (40, 30))
    found = known_scores(logits, 2.0, embeddings, reference)
    wide = logits.astype(np.float64)
    np.testing.assert_allclose(found["probability"], softmax(wide / 2, axis=1).max(axis=1))
    np.testing.assert_allclose(found["energy"], logsumexp(wide, axis=1))
    similarity = embeddings.astype(np.float64) @ reference.astype(np.float64).T
    np.testing.assert_allclose(found["distance"], similarity.max(axis=1) - 1, atol=2e-3)
    assert set(known_scores(logits, 2.0, embeddings, None)) == {"probability", "energy"}


def test_the_area_is_scikit_learns_and_the_best_score_comes_first() -> None:
    known = {"energy": GENERATOR.normal(0.5, 1, 300), "distance": GENERATOR.normal(2, 1, 300)}
    strange = {name: GENERATOR.normal(0, 1, 200) for name in known}
    validation = {name: GENERATOR.permutation(values) for name, values in known.items()}
    found = separation(validation, known, strange, 0.9, samples=200)
    assert list(found) == ["distance", "energy"]
    for name, one in found.items():
        scores = np.concatenate([known[name], strange[name]])
        expected = roc_auc_score([1] * 300 + [0] * 200, scores)
        assert one.auroc == pytest.approx(expected)
        assert one.low < one.auroc < one.high
        assert one.accepted.known == pytest.approx(0.9, abs=0.01)
        assert one.accepted.unknown == np.mean(strange[name] >= one.accepted.least)
