"""One class against the rest, at every threshold: ROC and precision-recall."""

import numpy as np

from classifier.core.types import BoolArray, Float64Array
from classifier.metrics.bootstrap import Weights, group_sums


def areas(scores: Float64Array, positive: BoolArray, weights: Weights) -> tuple[Weights, Weights]:
    """ROC AUC and average precision of one class against the rest, for every resample at once.

    AUC is the Mann-Whitney statistic, ties counting half (Hanley and McNeil 1982); average
    precision is the step-wise area of scikit-learn's ``average_precision_score``. Only what lies
    between the scores of positive images matters, so that negative images are summed up by gap.

    Args:
        scores: [N], higher for more likely members of the class.
        positive: [N] whether an image is a member.
        weights: [N, B] how often each image counts in each of B resamples.

    Returns:
        AUC [B] and average precision [B]; nan where a resample holds no positive image, AUC
        also where it holds no negative one.
    """
    levels = np.unique(scores[positive])
    # Odd places are ties with a level, even places the gaps between levels.
    place = np.searchsorted(levels, scores, "left") + np.searchsorted(levels, scores, "right")
    members = np.flatnonzero(positive)
    others = np.flatnonzero(~positive & (place > 0))
    hits = group_sums(weights, place[members] // 2, len(levels), images=members)
    between = group_sums(weights, place[others], 2 * len(levels) + 1, images=others)
    all_hits = hits.sum(axis=0)
    all_others = weights.sum(axis=0) - all_hits
    # Counted from the top: a level's false positives are all negatives that score as high.
    from_top = np.cumsum(between[::-1], axis=0)[::-1]
    false_positives, above = from_top[1::2], from_top[2::2]
    true_positives = np.cumsum(hits[::-1], axis=0)[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        beaten = all_others - (false_positives + above) / 2
        auc = (hits * beaten).sum(axis=0) / (all_hits * all_others)
        flagged = np.maximum(true_positives + false_positives, 1)
        precision = (hits * true_positives / flagged).sum(axis=0) / all_hits
    return auc, precision


def roc_curve(scores: Float64Array, positive: BoolArray, at: Float64Array) -> Float64Array:
    """True positive rate at the false positive rates ``at``; straight lines between thresholds."""
    _, true, false = counts(scores, positive)
    if not true[-1] or not false[-1]:
        return np.full(len(at), np.nan)
    # Of several points with one rate the last is the highest, and the one that interp finds.
    return np.interp(at, false / false[-1], true / true[-1])


def pr_curve(scores: Float64Array, positive: BoolArray, at: Float64Array) -> Float64Array:
    """Precision at the highest threshold that reaches each recall in ``at``."""
    _, true, false = counts(scores, positive)
    if not true[-1]:
        return np.full(len(at), np.nan)
    true, false = true[1:], false[1:]
    # Recalls are fractions of a count: compare counts, which are exact.
    wanted = np.maximum(np.ceil(at * true[-1] - 1e-9), 1)
    where = np.searchsorted(true, wanted, "left")
    precision: Float64Array = true[where] / (true[where] + false[where])
    return precision


def counts(
    scores: Float64Array, positive: BoolArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Distinct scores [L], falling, and the true and false positives [L+1] that reach each.

    The first of the L+1 are nought, above all scores.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    true = np.cumsum(positive[order])[ends].astype(np.float64)
    return ranked[ends], np.append(0.0, true), np.append(0.0, ends + 1 - true)
