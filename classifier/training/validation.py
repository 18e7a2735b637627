"""The scores by which training chooses its best epoch."""

from typing import Literal

import numpy as np

from classifier.core.softmax import cross_entropy
from classifier.core.types import FloatArray, IntegerArray

Monitor = Literal["accuracy", "loss", "balanced_accuracy", "precision_macro", "f1_macro"]


def validation_scores(logits: FloatArray, labels: IntegerArray) -> dict[str, float]:
    """Each `Monitor` of logits [N,K] against labels [N].

    They are scikit-learn's, as those of evaluation are: macro averages are over the classes that
    occur in ``labels`` or are predicted, and a class that is never predicted has precision 0.
    ``balanced_accuracy`` is the mean recall of the classes in ``labels``.
    """
    from sklearn.metrics import f1_score, precision_score, recall_score

    predicted = logits.argmax(axis=1)
    pair, macro = (labels, predicted), {"average": "macro", "zero_division": 0}
    return {
        "loss": float(cross_entropy(logits, np.asarray(labels, np.int64)).mean()),
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(recall_score(*pair, labels=np.unique(labels), **macro)),
        "precision_macro": float(precision_score(*pair, **macro)),
        "f1_macro": float(f1_score(*pair, **macro)),
    }
