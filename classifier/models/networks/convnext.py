"""A small ConvNeXt: a residual network redesigned, step by step, after vision transformers.

Liu et al., "A ConvNet for the 2020s", 2022, https://arxiv.org/abs/2201.03545, in about the size
that ConvNeXt V2 calls "atto" (Woo et al., 2023, https://arxiv.org/abs/2301.00808).
"""

from dataclasses import dataclass
from itertools import count
from typing import Annotated

import torch
from annotated_types import Len
from torch import Tensor, nn

from classifier.core.errors import UserError
from classifier.models.classifier import Classifier
from classifier.models.networks.layers import (
    Count,
    Dropout,
    Kernel,
    Widths,
    halved,
    transformer_initialize,
)

# Blocks start with this fraction of their branch. The paper's 1e-6 is for deeper networks and
# longer training; 0.1 is what CaiT uses at this depth (https://arxiv.org/abs/2103.17239).
_LAYER_SCALE = 0.1


@dataclass(frozen=True)
class ConvnextParams:
    """Settings under ``model.convnext``: blocks and channels of each stage."""

    depths: Annotated[tuple[Count, ...], Len(1, 64)] = (2, 2, 6, 2)
    widths: Widths = (40, 80, 160, 320)
    kernel_size: Kernel = 7
    drop_path: Dropout = 0.0

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.widths) or not self.depths:
            raise UserError("model.convnext: give depths and widths one number for each stage")
        if self.kernel_size % 2 == 0:
            raise UserError(f"model.convnext.kernel_size: {self.kernel_size} is even; use odd")


def convnext(params: ConvnextParams, classes: int, channels: int, image_size: int) -> Classifier:
    """A stem of square patches, then stages of blocks; each stage but the first halves the maps.

    Patches have the paper's 4 pixels from 128 pixels on, 2 from 32 on, else 1.
    """
    patch = 4 if image_size >= 128 else 2 if image_size >= 32 else 1
    size, inputs = image_size // patch, params.widths[0]
    stages: dict[str, nn.Module] = {
        "stem": nn.Sequential(nn.Conv2d(channels, inputs, patch, patch), ChannelNorm(inputs))
    }
    # Stochastic depth grows from none in the first block to drop_path in the last.
    last = max(1, sum(params.depths) - 1)
    drops = (params.drop_path * number / last for number in count())
    for number, (depth, width) in enumerate(zip(params.depths, params.widths, strict=True), 1):
        layers: list[nn.Module] = []
        if number > 1:
            stride = 2 if halved(size) < size else 1
            layers += [ChannelNorm(inputs), nn.Conv2d(inputs, width, stride, stride)]
            size, inputs = size // stride, width
        layers += [ConvnextBlock(width, params.kernel_size, next(drops)) for _ in range(depth)]
        stages[f"stage{number}"] = nn.Sequential(*layers)
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(inputs), nn.Linear(inputs, classes)
    )
    network = Classifier(stages, head)
    transformer_initialize(network)
    return network


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, H, W] -> the same."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvnextBlock(nn.Module):
    """Depthwise convolution, norm, and two dense layers over the channels, beside a shortcut."""

    def __init__(self, width: int, kernel_size: int, drop: float) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.dense = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.scale = nn.Parameter(torch.full((width,), _LAYER_SCALE))
        self.drop = drop

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, H, W] -> the same."""
        pixels = self.norm(self.mix(maps).permute(0, 2, 3, 1))  # channels last, for the Linears
        change = (self.dense(pixels) * self.scale).permute(0, 3, 1, 2)
        return maps + drop_path(change, self.drop, self.training)


def drop_path(change: Tensor, probability: float, training: bool) -> Tensor:
    """Leave the branch of a block out for some images, and strengthen it for the rest.

    Huang et al., "Deep networks with stochastic depth", 2016, https://arxiv.org/abs/1603.09382.
    """
    if not probability or not training:
        return change
    kept = torch.rand(len(change), 1, 1, 1, device=change.device) >= probability
    return change * (kept / (1 - probability)).to(change.dtype)
