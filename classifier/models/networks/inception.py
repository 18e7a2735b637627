"""Inception (GoogLeNet): in each module, filters of several sizes look at the same maps.

Szegedy et al., "Going deeper with convolutions", 2014, https://arxiv.org/abs/1409.4842 (table 1),
with batch norm after every convolution: Ioffe and Szegedy, 2015,
https://arxiv.org/abs/1502.03167. Without the auxiliary classifiers, which batch norm made
unnecessary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from classifier.models.classifier import Classifier
from classifier.models.networks.layers import (
    Dropout,
    Factor,
    conv_norm,
    halved,
    he_initialize,
    pooled_head,
)

_LARGE = 64  # pixels; from here on the stem shrinks the image by 8, as the paper's

# Table 1's columns: 1×1, narrowing before 3×3, 3×3, narrowing before 5×5, 5×5, after the pool.
_MODULES = {
    "stage1": ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    "stage2": (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    "stage3": ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
}


@dataclass(frozen=True)
class InceptionParams:
    """Settings under ``model.inception``; the paper's width is 1."""

    width: Factor = 0.5
    dropout: Dropout = 0.0


def inception(params: InceptionParams, classes: int, channels: int, image_size: int) -> Classifier:
    """The paper's nine modules in three stages; each stage but the first halves the maps."""

    def scaled(filters: int) -> int:
        return max(1, round(params.width * filters))

    inputs = scaled(192)
    if image_size >= _LARGE:
        narrow = scaled(64)
        stem = [
            *conv_norm(channels, narrow, 7, stride=2),
            nn.MaxPool2d(3, stride=2, padding=1),
            *conv_norm(narrow, narrow, 1),
            *conv_norm(narrow, inputs, 3),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        size = image_size // 8
    else:
        stem, size = conv_norm(channels, inputs, 3), image_size
    stages: dict[str, nn.Module] = {"stem": nn.Sequential(*stem)}
    for name, modules in _MODULES.items():
        layers: list[nn.Module] = []
        if name != "stage1" and halved(size) < size:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
            size = (size + 1) // 2
        for filters in modules:
            module = InceptionModule(inputs, [scaled(count) for count in filters])
            inputs = module.outputs
            layers.append(module)
        stages[name] = nn.Sequential(*layers)
    network = Classifier(stages, pooled_head(inputs, classes, params.dropout))
    he_initialize(network)
    return network


class InceptionModule(nn.Module):
    """Four branches, their maps one after another: 1×1, 3×3, 5×5, and a pool."""

    def __init__(self, inputs: int, filters: list[int]) -> None:
        super().__init__()
        one, narrow3, three, narrow5, five, pooled = filters
        self.outputs = one + three + five + pooled
        self.one = nn.Sequential(*conv_norm(inputs, one, 1))
        self.three = nn.Sequential(*conv_norm(inputs, narrow3, 1), *conv_norm(narrow3, three, 3))
        self.five = nn.Sequential(*conv_norm(inputs, narrow5, 1), *conv_norm(narrow5, five, 5))
        self.pool = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), *conv_norm(inputs, pooled, 1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H, W]."""
        branches = (self.one, self.three, self.five, self.pool)
        return torch.cat([branch(maps) for branch in branches], dim=1)
