"""How well a network knows images, found in the pass that classifies them.

Below the score that the model's decision names, the answer is *none of these*.
"""

import threading

import torch
from torch import Tensor, nn

from classifier.models.classifier import Classifier
from classifier.models.decision import MOST_KNOWN, Decision

REFERENCE_BYTES = 32 << 20  # that embeddings may add to a model file
REFERENCE = "known_embeddings"  # float16 [M, D] of training images, beside the weights


def most_held(width: int) -> int:
    """How many embeddings of ``width`` values a model file may hold."""
    return max(1, min(MOST_KNOWN, REFERENCE_BYTES // (2 * width)))


def hold_reference(network: Classifier, embeddings: Tensor) -> None:
    """Make embeddings [M, D] part of a network, and so of its model file."""
    network.register_buffer(REFERENCE, embeddings.to(torch.float16))


def placeholder(network: Classifier, decision: Decision | None) -> None:
    """Give a network that is to be loaded the embeddings that its ``decision`` speaks of."""
    if decision and decision.known_images:
        hold_reference(network, torch.empty(decision.known_images, network.last_linear.in_features))


class KnownScore:
    """Energy, or distance to the nearest of the training images that the network holds.

    Several threads may ask at the same time, each about the images that it has just shown the
    network.
    """

    def __init__(self, network: Classifier, decision: Decision) -> None:
        """Listen to a network whose weights are loaded; ``decision.known_by`` says for what."""
        self._reference: Tensor | None = None
        self._own = threading.local()
        if decision.known_by == "distance":
            self._reference = _directions(network.get_buffer(REFERENCE)).T.contiguous()
            network.last_layer.register_forward_pre_hook(self._look)

    def _look(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # Of a network that looks twice, the later ones: those of the image itself.
        self._own.embeddings = inputs[0]

    def __call__(self, logits: Tensor) -> Tensor:
        """float32 [N], high for known images, with the ``logits`` [N, K] that they were given."""
        if self._reference is None:
            return torch.logsumexp(logits, dim=1)
        similarity = _directions(self._own.embeddings) @ self._reference
        return (similarity.amax(dim=1) - 1).clamp(max=0)


def _directions(embeddings: Tensor) -> Tensor:
    """As `classifier.metrics.neighbors` has them: float32 [N, D] of length 1, or of zeros."""
    found = embeddings.float()
    least = torch.finfo(torch.float32).tiny
    # By the largest value first: no square may be out of range.
    found = found / found.abs().amax(dim=1, keepdim=True).clamp(min=least)
    return found / found.square().sum(dim=1, keepdim=True).sqrt().clamp(min=least)
