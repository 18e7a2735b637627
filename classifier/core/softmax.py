"""Logits to probabilities, in NumPy alone: a server of an ONNX file has no SciPy."""

from typing import TypeVar

import numpy as np

from classifier.core.types import Float32Array, Float64Array, FloatArray, Int64Array

Floats = TypeVar("Floats", Float32Array, Float64Array)

_CHUNK = 1 << 22  # logits that are held in double precision at a time


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities 0..1 of logits [..., K], which ``temperature`` divides, in their precision."""
    scaled = logits / temperature
    probabilities = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return probabilities / probabilities.sum(axis=-1, keepdims=True)


def softmax_parts(
    logits: FloatArray, temperature: float = 1.0
) -> tuple[Float64Array, Float64Array]:
    """Highest logit / temperature and the softmax's denominator, float64 [N] each.

    The probability of class k is ``exp(logits[:, k] / temperature - highest) / denominator``: to
    the last bit what `softmax` in double precision gives, so that ties stay ties, without ever
    holding all of it. Logits [N,K] are read in chunks.
    """
    highest, denominator = np.empty((2, len(logits)))
    step = max(1, _CHUNK // max(1, logits.shape[1]))
    for start in range(0, len(logits), step):
        part = np.asarray(logits[start : start + step], np.float64) / temperature
        top = part.max(axis=1)
        highest[start : start + step] = top
        denominator[start : start + step] = np.exp(part - top[:, None]).sum(axis=1)
    return highest, denominator


def cross_entropy(
    logits: FloatArray,
    labels: Int64Array,
    parts: tuple[Float64Array, Float64Array] | None = None,
) -> Float64Array:
    """[N] cross-entropy in nats of logits [N,K] and labels [N].

    ``parts``: what `softmax_parts` gave for these logits, where that is known already.
    """
    highest, denominator = softmax_parts(logits) if parts is None else parts
    own = np.asarray(logits[np.arange(len(logits)), labels], np.float64)
    return np.log(denominator) - (own - highest)
