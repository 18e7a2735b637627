"""The scores by which training chooses its best epoch."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Monitor = Literal["accuracy", "loss", "balanced_accuracy", "precision_macro", "f1_macro"]


def validation_scores(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> dict[str, float]:
    """Each `Monitor` of logits [N,K] against labels [N].

    They are scikit-learn's, as those of evaluation are: macro averages are over the classes that
    occur in ``labels`` or are predicted, and a class that is never predicted has precision 0.
    ``balanced_accuracy`` is the mean recall of the classes in ``labels``.
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
    there, occurs = actual > 0, actual + guessed > 0
    precision = right[occurs] / np.maximum(guessed[occurs], 1)
    f1 = 2 * right[occurs] / (actual + guessed)[occurs]
    return {
        "loss": loss,
        "accuracy": float(np.mean(predicted == labels)),
        "balanced_accuracy": float(np.mean(right[there] / actual[there])),
        "precision_macro": float(np.mean(precision)),
        "f1_macro": float(np.mean(f1)),
    }
