"""Classes of uneven size: weigh them in the loss, or draw them equally often."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from classifier.errors import UserError


def class_weights(
    wanted: str | Sequence[float],
    labels: npt.NDArray[np.integer],
    classes: int,
    device: torch.device | str = "cpu",
) -> Tensor | None:
    """A factor on the loss for each class, float32 [K] on the device, mean 1 over the pictures.

    Args:
        wanted: ``none``; ``balanced``, which is the inverse of a class's share; or a number for
            each class, of which only the proportions count.
        labels: int [N], of the train split.

    Raises:
        UserError: when there is not one number for each class, or all of them are 0.
    """
    if wanted == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    if wanted == "balanced":
        weights = 1.0 / np.maximum(counts, 1)
    else:
        weights = np.asarray(wanted, np.float64)
        if len(weights) != classes or weights @ counts == 0:
            raise UserError(
                f"train.class_weights has {len(weights)} numbers with sum {weights.sum():g}: give"
                f" one for each of the {classes} classes, not all 0."
            )
    return torch.from_numpy(weights * len(labels) / (weights @ counts)).float().to(device)


def epoch_order(
    labels: npt.NDArray[np.integer], sampler: str, classes: int, generator: torch.Generator
) -> Tensor:
    """The rows of one epoch, int64 [N] on the CPU.

    Args:
        sampler: ``shuffle`` (each row once) or ``balanced`` (drawn with replacement, every class
            as often as any other).
    """
    if sampler == "shuffle":
        return torch.randperm(len(labels), generator=generator)
    # Not torch.multinomial: it takes at most 2**24 rows.
    drawn = torch.rand(2, len(labels), generator=generator, dtype=torch.float64).numpy()
    counts = np.bincount(labels, minlength=classes)
    present = np.flatnonzero(counts)
    chosen = present[(drawn[0] * len(present)).astype(np.int64)]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    by_class = np.argsort(labels, kind="stable")
    within = (drawn[1] * counts[chosen]).astype(np.int64)
    return torch.from_numpy(by_class[starts[chosen] + within])
