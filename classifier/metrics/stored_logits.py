"""The form in which logits are kept and judged: as they are, or of many classes in half the bytes.

Beyond ``WHOLE_CLASSES`` classes, the highest logit of each image is taken from all of them, which
changes no probability, and what is left is rounded to float16. The likeliest classes are then near
0, where float16 is finest: a class that leads by more than 6e-8 goes on leading. The quotient of a
probability and the highest is off by at most 0.025 % of itself where it is above 1/e, and 0.4 %
where it is above 1e-7. Classes behind the first may become ties if they are that near one another.
"""

import numpy as np

from classifier.core.types import FloatArray

WHOLE_CLASSES = 100


def stored(logits: FloatArray) -> FloatArray:
    """[N,K] logits as they are kept: float32 up to ``WHOLE_CLASSES`` classes, else float16."""
    if logits.ndim < 2 or logits.shape[1] <= WHOLE_CLASSES:
        return np.asarray(logits, np.float32)
    below = logits - logits.max(axis=1, keepdims=True)
    return np.maximum(below, np.finfo(np.float16).min).astype(np.float16)
