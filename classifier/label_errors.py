"""Pictures whose label is likely wrong, by confident learning.

Northcutt, Jiang and Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels
(https://arxiv.org/abs/1911.00068). A class's threshold is the mean probability that the network
gives it on the pictures labelled with it; a picture is confidently counted for the most probable
class among those whose threshold its probabilities reach. Where that is not its label, the picture
lies off the diagonal of the confident joint (equation 1) and its label is in doubt. The thresholds
make up for a network that is more sure of some classes than of others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifier.calibration import softmax_parts

_CHUNK = 1 << 22  # probabilities held at a time


@dataclass(frozen=True)
class LabelErrors:
    """Likely label errors, most suspicious first.

    ``rows`` int64 [E] into the arrays given; ``suggested`` int64 [E] class; ``score`` float64 [E]:
    probability of the suggested minus that of the given class, -1..1.
    """

    rows: npt.NDArray[np.int64]
    suggested: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]


def find_label_errors(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], temperature: float = 1.0
) -> LabelErrors:
    """Find the pictures off the diagonal of the confident joint; memory beside logits is constant.

    Args:
        logits: [N,K] of pictures that the network was not trained on: it would have learnt the
            wrong labels of the others.
        labels: [N] as given.
        temperature: divides the logits; calibrated probabilities make better thresholds.
    """
    classes = logits.shape[1]
    highest, denominator = softmax_parts(logits, temperature)
    own = np.asarray(logits[np.arange(len(labels)), labels], np.float64)
    own = np.exp(own / temperature - highest) / denominator
    counts = np.bincount(labels, minlength=classes)
    # No picture can be confidently counted for a class that nothing is labelled with.
    thresholds = np.full(classes, np.inf)
    np.divide(np.bincount(labels, own, classes), counts, out=thresholds, where=counts > 0)
    suggested = labels.copy()
    score = np.zeros(len(labels))
    step = max(1, _CHUNK // classes)
    for start in range(0, len(labels), step):
        rows = slice(start, start + step)
        part = np.asarray(logits[rows], np.float64)
        shares = np.exp(part / temperature - highest[rows, None])
        shares /= denominator[rows, None]
        # A mean of equal numbers may exceed them by a rounding error.
        shares[shares < thresholds - 1e-12] = -1.0
        best = shares.argmax(axis=1)
        confident = shares[np.arange(len(best)), best] >= 0
        suggested[rows] = np.where(confident, best, labels[rows])
        score[rows] = shares[np.arange(len(best)), best] - own[rows]
    doubtful = np.flatnonzero(suggested != labels)
    order = doubtful[np.argsort(-score[doubtful], kind="stable")]
    return LabelErrors(rows=order, suggested=suggested[order], score=score[order])
