"""Confidence against accuracy, bin by bin, and the calibration error."""

from dataclasses import dataclass

import numpy as np

from classifier.core.types import BoolArray, Float64Array, Int64Array


@dataclass(frozen=True)
class Reliability:
    """Images sorted into bins of equal width by confidence; nan where a bin is empty."""

    count: Float64Array  # [B]
    confidence: Float64Array  # [B] mean probability of the predicted class
    accuracy: Float64Array  # [B] fraction that is right

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap, each bin weighted by its images."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gaps * self.count) / self.count.sum())


def bin_of(confidence: Float64Array, bins: int) -> Int64Array:
    """The bin 0..bins-1 of each confidence; bin b holds (b/bins, (b+1)/bins]."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    return np.searchsorted(edges[1:-1], confidence)


def reliability(confidence: Float64Array, right: BoolArray, bins: int = 15) -> Reliability:
    """Compare confidence with accuracy, bin by bin (Guo et al. 2017, equations 2 to 3).

    Args:
        confidence: [N] probability of the predicted class.
        right: [N] whether the prediction is right.
        bins: how many, of equal width over 0..1.
    """
    place = bin_of(confidence, bins)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count=count,
            confidence=np.bincount(place, confidence, bins) / count,
            accuracy=np.bincount(place, right.astype(np.float64), bins) / count,
        )
