"""Probabilities that mean what they say: temperature scaling."""

import numpy as np
from scipy.optimize import brentq

from classifier.core.softmax import softmax
from classifier.core.types import FloatArray, IntegerArray

LIMITS = (0.05, 20.0)  # of the temperature
_CHUNK = 1 << 22  # logits that are held in double precision at a time


def fit_temperature(logits: FloatArray, labels: IntegerArray) -> float:
    """The T > 0 for which softmax(logits / T) has the least cross-entropy on held-out images.

    It changes no prediction, only the confidence (Guo et al. 2017, On Calibration of Modern Neural
    Networks, 4.2). T > 1 makes a network less sure of itself. The loss is convex in 1/T, so the one
    root of its slope is its minimum.

    The labels are softened by one image's worth, as by Platt (1999, Probabilistic outputs for
    support vector machines, 2.2): of N images each counts 1/(N+2) for the classes that it does
    not have. A perfect validation score would otherwise drive T to zero, as if no image could
    ever be wrong.

    Args:
        logits: float [N,K].
        labels: int [N], of images that were not trained on.

    Returns:
        T within `LIMITS`, rounded to 6 significant digits; 1.0 when there is nothing to fit.
    """
    count, classes = logits.shape if len(logits) else (0, 0)
    if count == 0 or classes < 2:
        return 1.0
    low, high = 1.0 / LIMITS[1], 1.0 / LIMITS[0]
    if _slope(low, logits, labels) >= 0:
        scale = low
    elif _slope(high, logits, labels) <= 0:
        scale = high
    else:
        scale = brentq(_slope, low, high, args=(logits, labels), xtol=1e-12)
    return float(f"{1.0 / scale:.6g}")


def _slope(scale: float, logits: FloatArray, labels: IntegerArray) -> float:
    """Derivative of the mean softened cross-entropy by ``scale`` = 1/T."""
    count, classes = logits.shape
    soft = 1.0 / (count + 2)
    total = 0.0
    step = max(1, _CHUNK // classes)
    for start in range(0, count, step):
        part = np.asarray(logits[start : start + step], np.float64)
        mean = (softmax(scale * part) * part).sum(axis=1)
        right = part[np.arange(len(part)), labels[start : start + step]]
        wrong = (part.sum(axis=1) - right) / (classes - 1)
        total += float((mean - (1 - soft) * right - soft * wrong).sum())
    return total / count
