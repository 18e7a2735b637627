"""VGG: nothing but 3×3 convolutions and pooling, deeper and deeper.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014,
https://arxiv.org/abs/1409.1556.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from classifier.models.classifier import Classifier
from classifier.models.networks.layers import (
    Dropout,
    Factor,
    Width,
    dense_head,
    halved,
    he_initialize,
)

# Convolutions in each of the five stages; three dense layers complete the depth (table 1, A B D E).
_CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
_CHANNELS = (64, 128, 256, 512, 512)


@dataclass(frozen=True)
class VggParams:
    """Settings under ``model.vgg``."""

    depth: Literal[11, 13, 16, 19] = 11
    width: Factor = 1.0
    batch_norm: bool = True
    dense_units: Width = 512
    dropout: Dropout = 0.5


def vgg(params: VggParams, classes: int, channels: int, image_size: int) -> Classifier:
    """Five stages of convolutions, each pooled by 2 while the map has 4 pixels or more.

    The head sees the average of each last map, not all of its pixels: at 224 pixels the paper's
    first dense layer alone has 103 million weights.
    """
    stages: dict[str, nn.Module] = {}
    size, inputs = image_size, channels
    counts = _CONVOLUTIONS[params.depth]
    for number, (count, base) in enumerate(zip(counts, _CHANNELS, strict=True), start=1):
        outputs = max(1, round(params.width * base))
        layers: list[nn.Module] = []
        for _ in range(count):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=not params.batch_norm)]
            layers += [nn.BatchNorm2d(outputs)] if params.batch_norm else []
            layers += [nn.ReLU(inplace=True)]
            inputs = outputs
        layers += [nn.MaxPool2d(2)] if halved(size) < size else []
        size = halved(size)
        stages[f"stage{number}"] = nn.Sequential(*layers)

    hidden = (params.dense_units, params.dense_units)
    dense = dense_head(inputs, hidden, classes, params.dropout)
    network = Classifier(stages, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dense))
    he_initialize(network)
    return network
