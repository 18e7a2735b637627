"""The one softmax, against SciPy's."""

import numpy as np
import pytest
import scipy.special

from classifier.core.softmax import softmax, softmax_parts


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_it_is_scipys_in_the_precision_of_the_logits(precision: type[np.floating]) -> None:
    logits = np.random.default_rng(0).normal(0, 30, (200, 7)).astype(precision)
    found = softmax(logits, 1.7)
    assert found.dtype == precision
    np.testing.assert_allclose(found, scipy.special.softmax(logits / 1.7, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(softmax(logits[3], 1.7), found[3])


def test_its_parts_give_the_same_to_the_last_bit() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (200, 7)).astype(np.float32)
    highest, denominator = softmax_parts(logits, 1.7)
    apart = np.exp(np.float64(logits) / 1.7 - highest[:, None]) / denominator[:, None]
    np.testing.assert_array_equal(apart, softmax(np.float64(logits), 1.7))


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1000.0, 0.0], [-1000.0, -1000.0]], np.float32)
    assert softmax(logits).tolist() == [[1, 0], [0.5, 0.5]]
    highest, denominator = softmax_parts(logits)
    assert highest.tolist() == [1000, -1000]
    assert denominator.tolist() == [1, 2]
