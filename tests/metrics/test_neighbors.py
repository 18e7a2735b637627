"""The nearest embeddings: those of scikit-learn, the first of equals first."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from classifier.metrics import neighbors
from classifier.metrics.neighbors import nearest, unit

GENERATOR = np.random.default_rng(0)


def test_the_nearest_are_those_of_scikit_learn() -> None:
    reference, queries = (unit(GENERATOR.normal(size=(n, 24))) for n in (700, 90))
    found = nearest(queries, reference, 5)
    theirs = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute")
    distance, rows = theirs.fit(reference.astype(np.float64)).kneighbors(queries.astype(np.float64))
    assert (found.rows == rows).all()
    np.testing.assert_allclose(found.distance, distance, atol=1e-3)


def test_of_equals_the_first_comes_first_also_beside_the_last_place() -> None:
    one, other = np.eye(2, 4)
    reference = unit(np.stack([other, one, one, other, one]))
    assert nearest(unit(one[None]), reference, 2).rows.tolist() == [[1, 2]]
    assert nearest(unit(one[None]), reference, 9).rows.tolist() == [[1, 2, 4, 0, 3]]


def test_the_parts_of_a_search_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, queries = (unit(GENERATOR.normal(size=(n, 8))) for n in (50, 33))
    whole = nearest(queries, reference, 3)
    monkeypatch.setattr(neighbors, "_CHUNK", 100)
    parts = nearest(queries, reference, 3)
    assert (whole.rows == parts.rows).all()


def test_embeddings_of_any_size_have_a_direction_and_zeros_have_none() -> None:
    found = unit(np.array([[3e30, 4e30], [3e-30, 4e-30], [0, 0]], np.float32))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.6, 0.8], [0, 0]], atol=1e-3)
    assert nearest(found[2:], found, 1).distance.item() == 1


def test_a_library_searches_among_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    reference = unit(GENERATOR.normal(size=(400, 16)))
    exact = nearest(reference[:50], reference, 1)
    monkeypatch.setattr(neighbors, "EXACT", 100)
    assert (nearest(reference[:50], reference, 1).rows == exact.rows).mean() > 0.9
