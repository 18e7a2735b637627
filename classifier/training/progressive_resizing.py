"""Progressive resolution: shrunk images first, which cost less, and full ones at the end.

Howard's progressive resizing (fast.ai's DAWNBench entry, 2018); Tan and Le, "EfficientNetV2", 2021,
https://arxiv.org/abs/2104.00298.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from classifier.core.errors import UserError


@dataclass(frozen=True)
class ProgressiveParams:
    """The group ``train.progressive`` of params.yaml."""

    first_scale: Annotated[float, Interval(gt=0, le=1)] = 1.0
    full_from: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    step: Annotated[int, Ge(1)] = 2


@dataclass(frozen=True)
class Growth:
    """How the image size grows while a network trains.

    It grows in a line from ``first_scale`` times ``image_size`` at the start to ``image_size`` at
    the fraction ``full_from`` of the run, over multiples of ``step`` pixels, each a new shape that
    kernels are prepared for.
    """

    image_size: int
    first_scale: float = 1.0
    full_from: float = 0.5
    step: int = 2

    def size(self, done: float) -> int:
        """The image size in pixels when the fraction ``done`` (0..1) of the run is over."""
        if done >= self.full_from or self.first_scale == 1:
            return self.image_size
        scale = self.first_scale + (1 - self.first_scale) * done / self.full_from
        steps = max(1, round(scale * self.image_size / self.step))
        return min(self.image_size, self.step * steps)

    def smaller_sizes(self) -> range:
        """Every size below ``image_size`` that a run can come to, in rising order."""
        return range(self.size(0), self.image_size, self.step)

    def check(self, network: nn.Module, name: str, channels: int, batch_size: int) -> None:
        """Raise UserError if the network cannot be trained on one of the sizes.

        It is tried without computing anything, and neither its statistics nor its mode change.

        Args:
            network: as it was built, for ``image_size``.
            name: ``model.name``.
            batch_size: how many images go through it together.
        """
        sizes = self.smaller_sizes()

        def fails(size: int) -> bool:
            return not _takes(network, (batch_size, channels, size, size))

        # What takes the first two and the last takes the others: networks fail at maps too small,
        # at any size but the full one, or at sizes that some number does not divide.
        if not any(fails(size) for size in {*sizes[:2], *sizes[-1:]}):
            return
        largest = next(size for size in reversed(sizes) if fails(size))
        least = min(largest + self.step, self.image_size)
        scale = math.ceil(1000 * least / self.image_size) / 1000
        advice = f"{scale:g} or more" if scale < 1 else "1"
        raise UserError(
            f"train.progressive.first_scale: {name} for images of"
            f" {self.image_size}×{self.image_size} pixels cannot be trained on smaller ones of"
            f" {largest}×{largest}: set it to {advice}, or choose another network."
        )


def _takes(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether images of a shape [N, C, H, W] pass through in training mode, on ``meta``."""
    state = [*network.named_parameters(), *network.named_buffers()]
    weights = {name: value.detach().to("meta") for name, value in state}
    training = network.training
    try:
        with torch.no_grad():
            functional_call(network.train(), weights, (torch.empty(shape, device="meta"),))
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError):
        return False
    finally:
        network.train(training)
    return True


def shrunk(images: Tensor, size: int) -> Tensor:
    """Images [N, C, S, S], float, resized to ``size`` × ``size``; the same ones if they have it.

    Bilinear with antialiasing, which is linear in each axis: one matrix product an axis gives what
    `torch.nn.functional.interpolate` does, and takes a third of its time on a CPU's batch. The same
    to rounding; to about 0.001 on a GPU whose products may run in TF32.
    """
    full = images.shape[-1]
    if full == size:
        return images
    identity = torch.eye(full, dtype=images.dtype, device=images.device)[None, None]
    matrix = F.interpolate(identity, (size, full), mode="bilinear", antialias=True)[0, 0]
    smaller = matrix @ images @ matrix.T
    return smaller.contiguous(memory_format=torch.channels_last)
