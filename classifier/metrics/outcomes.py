"""What the logits of a split say about each of its images."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from classifier.core.softmax import cross_entropy, softmax_parts
from classifier.core.types import BoolArray, Float64Array, FloatArray, Int64Array

_CHUNK = 1 << 22  # logits looked at together


@dataclass(frozen=True)
class Outcomes:
    """Logits and labels of a split, and what follows from them; nothing here is [N,K] but logits.

    ``logits`` [N,K], float32 or as `stored_logits` has them; ``labels`` int64 [N]; ``temperature``
    divides the logits wherever ``calibrated`` is asked for, None where none was fitted for these
    logits. Images are shown to people with calibrated probabilities, as they are everywhere else;
    figures that measure the network itself (loss, ranking, ``ece``) take its logits as they are.
    """

    logits: FloatArray
    labels: Int64Array
    temperature: float | None = None

    @property
    def classes(self) -> int:
        """The number of classes, K."""
        return int(self.logits.shape[1])

    @cached_property
    def predicted(self) -> Int64Array:
        """[N] class with the highest logit; the first of several."""
        return np.asarray(self.logits.argmax(axis=1), np.int64)

    @cached_property
    def right(self) -> BoolArray:
        """[N] whether the prediction is the label."""
        return self.predicted == self.labels

    @cached_property
    def loss(self) -> Float64Array:
        """[N] cross-entropy in nats."""
        return cross_entropy(self.logits, self.labels, self._softmax)

    @cached_property
    def confidence(self) -> Float64Array:
        """[N] probability of the predicted class, 0..1."""
        return self.probability(self.predicted)

    @cached_property
    def calibrated_confidence(self) -> Float64Array:
        """[N] probability of the predicted class after temperature scaling, 0..1."""
        return self.calibrated_probability(self.predicted)

    @cached_property
    def runner_up(self) -> Int64Array:
        """[N] class with the second-highest logit."""
        found = np.empty(len(self.logits), np.int64)
        for rows in self._chunks():
            part = self.logits[rows].copy()
            part[np.arange(len(part)), self.predicted[rows]] = -np.inf
            found[rows] = part.argmax(axis=1)
        return found

    @cached_property
    def place(self) -> Int64Array:
        """[N] how many classes rank above the label; ties go to the class that comes last."""
        found = np.empty(len(self.logits), np.int64)
        numbers = np.arange(self.classes)
        for rows in self._chunks():
            part, labels = self.logits[rows], self.labels[rows, None]
            own = np.take_along_axis(part, labels, axis=1)
            found[rows] = ((part > own) | ((part == own) & (numbers > labels))).sum(axis=1)
        return found

    def probability(self, wanted: int | Int64Array) -> Float64Array:
        """[N] probability of one class, or of one class for each image, 0..1."""
        highest, denominator = self._softmax
        return np.exp(self._logit(wanted) - highest) / denominator

    def calibrated_probability(self, wanted: int | Int64Array) -> Float64Array:
        """[N] as `probability`, after temperature scaling: what predict and serve would say."""
        highest, denominator = self._calibrated_softmax
        return np.exp(self._logit(wanted) / self._scale - highest) / denominator

    @cached_property
    def _softmax(self) -> tuple[Float64Array, Float64Array]:
        return softmax_parts(self.logits)

    @cached_property
    def _calibrated_softmax(self) -> tuple[Float64Array, Float64Array]:
        return softmax_parts(self.logits, self._scale)

    @property
    def _scale(self) -> float:
        return 1.0 if self.temperature is None else self.temperature

    def _logit(self, wanted: int | Int64Array) -> Float64Array:
        return np.asarray(self.logits[np.arange(len(self.logits)), wanted], np.float64)

    def _chunks(self) -> list[slice]:
        step = max(1, _CHUNK // max(1, self.classes))
        return [slice(start, start + step) for start in range(0, len(self.logits), step)]
