"""Images whose label is likely wrong, by confident learning.

Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels
(https://arxiv.org/abs/1911.00068). A class's threshold is the mean probability that the network
gives it on the images labelled with it; an image is confidently counted for the most probable
class among those whose threshold its probabilities reach. Where that is not its label, the image
lies off the diagonal of the confident joint (equation 1) and its label is in doubt. The thresholds
make up for a network that is more sure of some classes than of others.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from classifier.core.softmax import softmax
from classifier.core.types import Float64Array, FloatArray, Int64Array
from classifier.metrics.outcomes import Outcomes
from classifier.models.temperature import LIMITS

_CHUNK = 1 << 22  # probabilities held at a time
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class LabelErrors:
    """Likely label errors, most suspicious first.

    ``rows`` int64 [E] into the arrays given; ``suggested`` int64 [E] class; ``score`` float64 [E],
    falling: of `find_label_errors` the probability of the suggested minus that of the given class,
    -1..1; of `unlikely_labels` that of all classes but the given one, 0..1.
    """

    rows: Int64Array
    suggested: Int64Array
    score: Float64Array


def unlikely_labels(
    logits: FloatArray, labels: Int64Array, temperature: float = 1.0
) -> LabelErrors:
    """All images for which the network predicts another class than their label, in an order.

    Those come first whose label has the least probability (Kuan and Mueller 2022, Model-agnostic
    label quality scoring, "self-confidence"). A list to be worked through by people: it finds more
    than the confident joint does where thousands are looked at (benchmarks/label_errors.md), and
    says nothing of how many labels are wrong.

    Args:
        logits: as for `find_label_errors`.
        labels: [N] as given.
        temperature: divides the logits.
    """
    outcomes = Outcomes(logits, labels, temperature)
    own = outcomes.calibrated_probability(labels)
    doubtful = np.flatnonzero(~outcomes.right)
    order = doubtful[np.argsort(own[doubtful], kind="stable")]
    return LabelErrors(rows=order, suggested=outcomes.predicted[order], score=1 - own[order])


def find_label_errors(
    logits: FloatArray, labels: Int64Array, temperature: float = 1.0
) -> LabelErrors:
    """Find the images off the diagonal of the confident joint; memory beside logits is constant.

    Args:
        logits: [N,K] of images that the network was not trained on: it would have learnt the
            wrong labels of the others.
        labels: [N] as given.
        temperature: divides the logits; calibrated probabilities make better thresholds.
    """
    classes = logits.shape[1]
    own = Outcomes(logits, labels, temperature).calibrated_probability(labels)
    counts = np.bincount(labels, minlength=classes)
    # No image can be confidently counted for a class that nothing is labelled with.
    thresholds = np.full(classes, np.inf)
    np.divide(np.bincount(labels, own, classes), counts, out=thresholds, where=counts > 0)
    suggested = labels.copy()
    score = np.zeros(len(labels))
    step = max(1, _CHUNK // classes)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        probabilities = softmax(np.asarray(logits[rows], np.float64), temperature)
        # A mean of equal numbers may exceed them by a rounding error.
        probabilities[probabilities < thresholds - 1e-12] = -1.0
        best = probabilities.argmax(axis=1)
        confident = probabilities[np.arange(len(best)), best] >= 0
        suggested[rows] = np.where(confident, best, labels[rows])
        score[rows] = probabilities[np.arange(len(best)), best] - own[rows]
    doubtful = np.flatnonzero(suggested != labels)
    order = doubtful[np.argsort(-score[doubtful], kind="stable")]
    return LabelErrors(rows=order, suggested=suggested[order], score=score[order])


def error_probabilities(logits: FloatArray, labels: Int64Array) -> Float64Array:
    """How probable it is, of each image, that its label is wrong; float64 [N], 0..1.

    By Bayes' rule, if a fraction e of the labels had been replaced by another class at random: a
    wrong label is as probable as e / (K-1) times the other classes' probability together, a right
    one as 1-e times its own. The fraction, and the temperature of the probabilities, are those
    under which the labels are likeliest. A temperature fitted without e would take the wrong labels
    for the network's mistakes, and doubt the network for them. Labels that were mixed up between
    two similar classes look like the network's own mistakes: they come out too improbable.

    Args:
        logits: as for `find_label_errors`.
        labels: [N] as given.
    """
    classes = logits.shape[1]
    if len(labels) == 0 or classes < 2:
        return np.zeros(len(labels))

    def fitted(scale: float) -> tuple[float, Float64Array]:
        """The negative log-likelihood at 1/T = ``scale``, and the probabilities asked for."""
        own = Outcomes(logits, labels, 1 / scale).calibrated_probability(labels)
        other = (1 - own) / (classes - 1)
        fraction = 0.05
        for _ in range(100):  # expectation and maximization
            wrong = fraction * other / np.maximum(fraction * other + (1 - fraction) * own, _TINY)
            before, fraction = fraction, float(wrong.mean())
            if abs(fraction - before) < 1e-7:
                break
        mixture = fraction * other + (1 - fraction) * own
        return -float(np.log(np.maximum(mixture, _TINY)).sum()), wrong

    best = minimize_scalar(
        lambda logarithm: fitted(float(np.exp(logarithm)))[0],
        bounds=(-np.log(LIMITS[1]), -np.log(LIMITS[0])),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return fitted(float(np.exp(best.x)))[1]
