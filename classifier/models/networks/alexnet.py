"""AlexNet, which began the deep learning of image classification in 2012.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks",
2012, https://papers.nips.cc/paper/4824; channel counts of its one-column form, Krizhevsky,
"One weird trick", 2014, https://arxiv.org/abs/1404.5997. Without local response normalization,
which later work found to have no effect.
"""

from dataclasses import dataclass

from torch import nn

from classifier.models.classifier import Classifier
from classifier.models.networks.layers import (
    Dropout,
    Factor,
    FlattenMaps,
    Width,
    dense_head,
    he_initialize,
)

_LARGE = 64  # pixels; from here on the first convolution takes the paper's steps of 4
_LARGEST_DENSE_MAP = 6  # the paper's map before the dense layers


@dataclass(frozen=True)
class AlexnetParams:
    """Settings under ``model.alexnet``."""

    width: Factor = 1.0
    dense_units: Width = 1024
    dropout: Dropout = 0.5


def alexnet(params: AlexnetParams, classes: int, channels: int, image_size: int) -> Classifier:
    """Five convolutions in three stages and three dense layers.

    Below 64 pixels the first convolution is 5×5 without steps, so that its maps stay as large as
    the image; the paper's 11×11 in steps of 4 would leave nothing for the rest.
    """
    c1, c2, c3, c4, c5 = (max(1, round(params.width * c)) for c in (64, 192, 384, 256, 256))
    if image_size >= _LARGE:
        first, size = nn.Conv2d(channels, c1, 11, stride=4, padding=2), (image_size - 7) // 4 + 1
    else:
        first, size = nn.Conv2d(channels, c1, 5, padding=2), image_size
    stages: dict[str, nn.Module] = {}
    convolutions = {
        "stage1": [first],
        "stage2": [nn.Conv2d(c1, c2, 5, padding=2)],
        "stage3": [
            nn.Conv2d(c2, c3, 3, padding=1),
            nn.Conv2d(c3, c4, 3, padding=1),
            nn.Conv2d(c4, c5, 3, padding=1),
        ],
    }
    for name, layers in convolutions.items():
        steps: list[nn.Module] = []
        for layer in layers:
            steps += [layer, nn.ReLU(inplace=True)]
        if size >= 4:
            steps.append(nn.MaxPool2d(3, stride=2, padding=1))
            size = (size + 1) // 2
        stages[name] = nn.Sequential(*steps)

    side = min(size, _LARGEST_DENSE_MAP)
    fit = [nn.AdaptiveAvgPool2d(side)] if side < size else []
    hidden = (params.dense_units, params.dense_units)
    dense = dense_head(c5 * side**2, hidden, classes, params.dropout)
    network = Classifier(stages, nn.Sequential(*fit, FlattenMaps(side), *dense))
    he_initialize(network)
    return network
