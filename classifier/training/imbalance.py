"""Classes of uneven size: weigh them in the loss, or draw them equally often."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from classifier.core.errors import UserError, suggestion
from classifier.core.types import IntegerArray

Sampler = Literal["shuffle", "balanced"]
Weight = Annotated[float, Ge(0)]
ClassWeights = Literal["none", "balanced"] | dict[str, Weight] | tuple[Weight, ...]


def class_weights(
    wanted: ClassWeights,
    labels: IntegerArray,
    classes: Sequence[str],
    sampler: Sampler = "shuffle",
    device: torch.device | str = "cpu",
) -> Tensor | None:
    """A factor on the loss for each class, float32 [K] on the device; None for ``none``.

    Its mean is 1 over the images that an epoch draws, so that weights change neither the size of a
    step nor what a learning rate means.

    Args:
        wanted: ``none``; ``balanced``, so that every class has the same part in the loss; or
            numbers of which only the proportions count, by class or in the order of ``classes``.
        labels: int [N], of the train split.
        sampler: what draws the images. ``balanced`` draws the classes equally often, and leaves
            nothing for ``balanced`` weights to do.

    Raises:
        UserError: a class has no number, a number has no class, or no image counts.
    """
    if wanted == "none":
        return None
    counts = np.bincount(labels, minlength=len(classes))
    drawn = counts if sampler == "shuffle" else counts > 0
    fractions = drawn / drawn.sum()
    if wanted == "balanced":
        weights = 1 / np.where(fractions > 0, fractions, 1)
    else:
        weights = np.array(_in_order(wanted, classes))
    mean = weights @ fractions
    if mean == 0:
        raise UserError(
            "train.class_weights gives every image of the train split the weight 0: give a class"
            " that has images there a number above 0."
        )
    return torch.from_numpy(weights / mean).float().to(device)


def _in_order(
    wanted: Mapping[str, float] | Sequence[float], classes: Sequence[str]
) -> Sequence[float]:
    if not isinstance(wanted, Mapping):
        if len(wanted) != len(classes):
            raise UserError(
                f"train.class_weights has {len(wanted)} numbers for {len(classes)} classes: give"
                " each one, in the order of data/raw/classes.json, or name the classes."
            )
        return wanted
    for name in wanted:
        if name not in classes:
            raise UserError(
                f"train.class_weights: {name!r} is not a class{suggestion(name, classes)}."
            )
    missing = [name for name in classes if name not in wanted]
    if missing:
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise UserError(
            f"train.class_weights has no number for {missing[0]!r}{more}: give each class one."
        )
    return [wanted[name] for name in classes]


def image_losses(
    logits: Tensor, labels: Tensor, class_weight: Tensor | None, smoothing: float
) -> Tensor:
    """Cross-entropy of each image with its smoothed label, times its weight; float [N].

    An image weighs what its true class weighs; a mixed one the mean of its classes, by their
    fractions. Weights never change what the network is to answer for an image, as the ``weight`` of
    `torch.nn.functional.cross_entropy` does: that multiplies each class's part of a label, and a
    rare class then outweighs the true one by what smoothing or mixing gave it.

    Args:
        logits: float [N,K].
        labels: int64 [N]; or the fractions of mixed images, float [N,K].
        class_weight: what `class_weights` gave.
        smoothing: the part of each label that is spread over all classes, 0..1.
    """
    losses = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    if class_weight is None:
        return losses
    return losses * (class_weight[labels] if labels.ndim == 1 else labels @ class_weight)


def epoch_order(
    labels: IntegerArray, sampler: Sampler, classes: int, generator: torch.Generator
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
