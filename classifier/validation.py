"""The scores by which training chooses its best epoch."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Monitor = Literal["accuracy", "loss", "balanced_accuracy", "precision_macro", "f1_macro"]


def validation_scores(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> dict[str, float]:
    """Each `Monitor` of logits [N,K] against labels [N].

    Macro averages are over the classes that occur in ``labels``; a class that is never predicted
    has precision 0. ``balanced_accuracy`` is the mean recall of the classes.
    """
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    loss = float(np.mean(log_sum - shifted[np.arange(len(labels)), labels]))
    predicted = logits.argmax(axis=1)
    classes = logits.shape[1]
    right = np.bincount(labels[predicted == labels], minlength=classes)
    actual = np.bincount(labels, minlength=classes)
    guessed = np.bincount(predicted, minlength=classes)
    there = actual > 0
    precision = right[there] / np.maximum(guessed[there], 1)
    f1 = 2 * right[there] / (actual + guessed)[there]
    return {
        "loss": loss,
        "accuracy": float(np.mean(predicted == labels)),
        "balanced_accuracy": float(np.mean(right[there] / actual[there])),
        "precision_macro": float(np.mean(precision)),
        "f1_macro": float(np.mean(f1)),
    }
