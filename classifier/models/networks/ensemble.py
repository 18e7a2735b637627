"""Several trained networks as one: what `python -m classifier ensemble --model` saves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Interval, Len
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.models.classifier import Classifier


@dataclass(frozen=True)
class Member:
    """One trained network, and how it standardizes images in 0..1."""

    name: str
    args: Mapping[str, Any]
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Gt(0)], ...]


@dataclass(frozen=True)
class EnsembleParams:
    """What an ensemble's model file says of it; ``floor`` bounds log-probabilities for stacking."""

    method: Literal["mean", "weighted", "stacking"]
    members: Annotated[tuple[Member, ...], Len(1, 100)]
    floor: Annotated[float, Interval(ge=-1000, le=0)] = 0.0


class Members(nn.Module):
    """Networks side by side: images in 0..1 -> their log-probabilities, [N, members * classes].

    Each standardizes the images with its own mean and deviation.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        means: Sequence[Sequence[float]],
        stds: Sequence[Sequence[float]],
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        # Not persistent: they are in the model file's settings already.
        for name, figures in (("mean", means), ("std", stds)):
            values = torch.tensor(figures)[:, None, :, None, None]
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] in 0..1 -> [N, members * classes]."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        found = [
            F.log_softmax(network((images - mean[i]) / std[i]), dim=1)
            for i, network in enumerate(self.networks)
        ]
        return torch.cat(found, dim=1)


class Mixture(nn.Module):
    """Logarithm of the weighted mean of the members' probabilities, [N, classes]."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((members,), 1 / members))

    def forward(self, log_probabilities: Tensor) -> Tensor:
        """[N, members * classes] -> [N, classes]."""
        weights = self.get_buffer("weights")
        apart = log_probabilities.unflatten(1, (len(weights), -1))
        return torch.logsumexp(apart + weights.log()[None, :, None], dim=1)


class Stacking(nn.Module):
    """A linear function of the members' log-probabilities, [N, classes]; ``floor`` bounds them."""

    def __init__(self, members: int, classes: int, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.linear = nn.Linear(members * classes, classes)

    def forward(self, log_probabilities: Tensor) -> Tensor:
        """[N, members * classes] -> [N, classes]."""
        logits: Tensor = self.linear(log_probabilities.clamp(min=self.floor))
        return logits


def ensemble(settings: EnsembleParams, networks: Sequence[nn.Module], classes: int) -> Classifier:
    """Put the networks and what combines them together; the weights are loaded afterwards.

    Args:
        networks: one for each member.
        classes: K; every network has the same ones.
    """
    members = settings.members
    backbone = Members(networks, [part.mean for part in members], [part.std for part in members])
    head: nn.Module = Mixture(len(members))
    if settings.method == "stacking":
        head = Stacking(len(members), classes, settings.floor)
    return Classifier({"members": backbone}, head)
