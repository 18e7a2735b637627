"""Embeddings: the inputs of the last linear layer, and their principal plane."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from classifier.core.types import Float32Array, Float64Array, Int64Array
from classifier.models.classifier import Classifier

_WIDE = 8192  # values of an embedding, from which on their covariance would fill the memory


@contextmanager
def recorded_embeddings(
    network: Classifier, rows: Int64Array
) -> Iterator[Callable[[], Float32Array]]:
    """Keep the inputs of the last linear layer for some rows of what passes through the network.

    ``rows`` (ascending) count images from the start of the block. Yields a function that gives
    the embeddings float32 [len(rows), D], so that they need no second pass.
    """
    # One block: small ones between the maps would keep the heap from using their memory again.
    kept = torch.empty(len(rows), network.last_linear.in_features)
    seen = 0
    values = torch.empty(0)

    def look(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal values  # of a network that looks twice, the later ones: those of the image itself
        values = inputs[0]

    def keep(*_: object) -> None:
        nonlocal seen
        within = (rows >= seen) & (rows < seen + len(values))
        inside = torch.from_numpy(rows[within] - seen).to(values.device)
        kept[torch.from_numpy(within)] = values[inside].float().cpu()
        seen += len(values)

    def found() -> Float32Array:
        assert not len(rows) or seen > rows[-1]
        return kept.numpy()

    hooks = network.last_layer.register_forward_pre_hook(look), network.register_forward_hook(keep)
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def principal_plane(embeddings: Float32Array) -> tuple[Float64Array, list[float]]:
    """Project [N, D] on the two directions of largest variance.

    Returns:
        [N, 2] coordinates, and the fraction of the variance (0..1) that each of the two holds. The
        sign of a direction is free: here its largest component is positive.
    """
    from scipy.linalg import eigh

    if len(embeddings) < 2:
        return np.zeros((len(embeddings), 2)), [0.0, 0.0]
    centered = np.asarray(embeddings, np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    if centered.shape[1] < 2:
        centered = np.pad(centered, ((0, 0), (0, 1)))
    wide = centered.shape[1] > max(len(centered), _WIDE)
    # Rows and columns have the same variances; the smaller product is made where that matters.
    scatter = centered @ centered.T if wide else centered.T @ centered
    size = len(scatter)
    variances, directions = eigh(scatter, subset_by_index=[size - 2, size - 1])
    plane = directions[:, ::-1]
    if wide:
        plane = centered.T @ plane
        plane = plane / np.maximum(np.linalg.norm(plane, axis=0), 1e-150)
    plane = plane * np.where(plane[np.abs(plane).argmax(axis=0), [0, 1]] < 0, -1, 1)
    total = max(float(np.trace(scatter)), 1e-300)
    return centered @ plane, [max(0.0, float(v)) / total for v in variances[::-1]]
