"""How well images of no class are told from those of the classes: three scores, high for known.

``probability``: the highest one (Hendrycks and Gimpel 2017, https://arxiv.org/abs/1610.02136).
``energy``: the logarithm of the sum of the logits' exponentials (Liu et al. 2020,
https://arxiv.org/abs/2010.03759). ``distance``: to the nearest training embedding, with its sign
changed (Sun et al. 2022, https://arxiv.org/abs/2204.06507).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from classifier.core.softmax import softmax_parts
from classifier.core.types import Float64Array, FloatArray
from classifier.metrics.bootstrap import interval, resamples
from classifier.metrics.neighbors import nearest
from classifier.metrics.ranking import areas
from classifier.metrics.thresholds import DIGITS

SCORES = ("probability", "energy", "distance")


def known_scores(
    logits: FloatArray, temperature: float, embeddings: FloatArray, reference: FloatArray | None
) -> dict[str, Float64Array]:
    """The scores [N] of images, by name; no distance without a ``reference``.

    Args:
        logits: [N, K].
        temperature: divides the logits of the probability, as everywhere; energy takes them as
            they are.
        embeddings: [N, D] of the same images, as `neighbors.unit` gives them.
        reference: [M, D] of training images.
    """
    wide = np.asarray(logits, np.float64)
    _, denominator = softmax_parts(wide, temperature)
    highest, total = softmax_parts(wide)
    found = {"probability": 1 / denominator, "energy": highest + np.log(total)}
    if reference is not None and len(reference):
        distance = nearest(embeddings, reference, 1).distance[:, 0]
        found["distance"] = -np.asarray(distance, np.float64)
    return found


@dataclass(frozen=True)
class Separation:
    """How one score tells unknown images from known ones.

    ``auroc``: the probability, 0..1, that a known image has the higher score, with the ends of its
    percentile bootstrap interval. ``accepted`` says what it accepts.
    """

    auroc: float
    low: float
    high: float
    accepted: "Accepted"


class Accepted(NamedTuple):
    """``least``: the score from which on images are accepted; ``known`` and ``unknown``: the
    fractions of test images and of unknown ones that are, 0..1."""

    least: float
    known: float
    unknown: float


def accepted(
    validation: Float64Array, known: Float64Array, unknown: Float64Array, fraction: float
) -> Accepted:
    """Accept at least this ``fraction`` of the validation images, and count the others.

    The least score is midway between those of two validation images, as thresholds are.
    """
    scores = np.round(validation, DIGITS)
    last = np.quantile(scores, 1 - fraction, method="lower")
    below = scores[scores < last]
    least = round(float(last + below.max()) / 2, DIGITS + 1) if len(below) else last - 10**-DIGITS
    return Accepted(float(least), float(np.mean(known >= least)), float(np.mean(unknown >= least)))


def separation(
    validation: Mapping[str, Float64Array],
    known: Mapping[str, Float64Array],
    unknown: Mapping[str, Float64Array],
    accept: float,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Separation]:
    """Measure every score, best AUROC first.

    Args:
        validation: scores [N] of images of the classes, which set the least score accepted.
        known: scores [M] of test images.
        unknown: scores [L] of images of no class.
        accept: fraction of the validation images that is to be accepted, 0..1.
        samples: resamples behind the interval, of known and of unknown images.
        confidence: of the interval, 0..1.
        seed: of the resamples.
    """
    found = {}
    for name, values in known.items():
        strange = unknown[name]
        scores = np.concatenate([values, strange])
        positive = np.arange(len(scores)) < len(values)
        drawn = [
            areas(scores, positive, np.concatenate(weights))[0]
            for weights in zip(
                resamples(len(values), samples, seed),
                resamples(len(strange), samples, seed + 1),
                strict=True,
            )
        ]
        auroc, _ = areas(scores, positive, np.ones((len(scores), 1)))
        low, high = interval(np.concatenate(drawn), confidence)
        found[name] = Separation(
            float(auroc[0]),
            float(low),
            float(high),
            accepted(validation[name], values, strange, accept),
        )
    return dict(sorted(found.items(), key=lambda entry: -entry[1].auroc))
