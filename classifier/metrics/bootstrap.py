"""Percentile bootstrap: how far a figure could be off, had other images been drawn.

Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13. A resample is a weight for
each image (how often it was drawn), so that every statistic made of sums over images is one
product of a sparse matrix with the weights of all resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from classifier.core.types import AnyArray, FloatArray, IntegerArray

Weights = AnyArray  # [N, B]: how often each of N images is in each resample
BLOCK = 1 << 23  # weights held at a time


@dataclass(frozen=True)
class Sampling:
    """How many resamples, the confidence of the intervals (0 to 1), and the seed."""

    samples: int
    confidence: float
    seed: int


def resamples(count: int, samples: int, seed: int) -> Iterator[Weights]:
    """Yield float32 weights [count, b] in blocks of bounded size, ``samples`` resamples in all.

    float32 holds the sums exactly up to 16 million images.
    """
    generator = np.random.default_rng(seed)
    step = max(1, BLOCK // max(1, count))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        drawn = np.empty((size, count), np.float32)
        for row in drawn:
            row[:] = np.bincount(generator.integers(0, count, count), minlength=count)
        yield np.ascontiguousarray(drawn.T)


def group_sums(
    weights: Weights,
    groups: IntegerArray,
    number: int,
    values: FloatArray | None = None,
    images: IntegerArray | None = None,
) -> Weights:
    """Sum weights, times ``values`` if given, within groups of images, for each resample.

    Args:
        weights: [N, B].
        groups: [n] group 0..number-1 of each image that takes part.
        number: how many groups.
        values: [n] by which an image's weight is multiplied.
        images: [n] rows of ``weights`` that take part; None: all of them.

    Returns:
        [number, B].
    """
    from scipy.sparse import csr_array

    if images is None:
        images = np.arange(len(weights))
    if values is None:
        values = np.ones(len(images))
    entries = (values.astype(weights.dtype), (groups, images))
    sums: Weights = csr_array(entries, shape=(number, len(weights))) @ weights
    return sums


def interval(values: Weights, confidence: float) -> tuple[Weights, Weights]:
    """Low and high percentile over the last axis; resamples without a value (nan) do not count.

    nan where no resample has a value.
    """
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    if not np.isnan(values).any():
        low, high = np.quantile(values, tails, axis=-1)
        return low, high
    # np.nanquantile would warn of rows without any value.
    known = ~np.isnan(values).all(axis=-1)
    bounds = np.full((2, *known.shape), np.nan)
    if known.any():
        bounds[:, known] = np.nanquantile(values[known], tails, axis=-1)
    return bounds[0], bounds[1]


def wilson(fractions: Weights, counts: Weights, confidence: float) -> tuple[Weights, Weights]:
    """Score interval of a proportion (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    It stays honest at 0 and at 1, where every resample is the same and a percentile interval has
    no width: of 100 images that are all right, 96.3 % to 100 % at 95 % confidence.

    Args:
        fractions: what was observed, 0..1, of any shape.
        counts: of how many images, above 0; of the same shape.
        confidence: 0..1.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (fractions + z**2 / (2 * counts)) / (1 + z**2 / counts)
    spread = np.sqrt(fractions * (1 - fractions) / counts + (z / (2 * counts)) ** 2)
    reach = z * spread / (1 + z**2 / counts)
    # Rounding must not leave the fraction itself outside.
    return np.clip(middle - reach, 0, fractions), np.clip(middle + reach, fractions, 1)


def fraction_interval(
    fraction: Weights, counts: Weights, drawn: Weights, confidence: float
) -> tuple[Weights, Weights]:
    """Percentile interval of fractions, or `wilson` where no resample differs from another.

    Args:
        fraction: [...] what was observed, 0..1; nan where there is nothing to count.
        counts: [...] of how many images.
        drawn: [..., B] the same in each resample.
        confidence: 0..1.

    Returns:
        Low and high ends [...]; nan where the fraction is.
    """
    low, high = interval(drawn, confidence)
    same = ~(np.fmax.reduce(drawn, axis=-1) - np.fmin.reduce(drawn, axis=-1) >= 1e-12)
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = wilson(fraction, counts, confidence)
    return np.where(same, ends[0], low), np.where(same, ends[1], high)
