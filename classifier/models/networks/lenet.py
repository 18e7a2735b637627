"""LeNet-5, the network that read cheques.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998,
https://doi.org/10.1109/5.726791. As is usual today, every second-layer map sees all first-layer
maps, and the output is a plain Linear rather than radial basis functions.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from classifier.models.classifier import Classifier
from classifier.models.networks.layers import ActivationName, FlattenMaps, activation, dense_head

_PAPER_SIZE = 32  # pixels; the paper pads the 28×28 digits of MNIST with a border up to it
_LAST_MAP = 5  # pixels, of that size


@dataclass(frozen=True)
class LenetParams:
    """Settings under ``model.lenet``; the defaults are the paper's."""

    activation: ActivationName = "tanh"
    pool: Literal["average", "max"] = "average"


def lenet(params: LenetParams, classes: int, channels: int, image_size: int) -> Classifier:
    """Two stages of 5×5 convolution and pooling, then dense layers of 120 and 84 units.

    Smaller images get a border up to 32×32, as in the paper; of larger ones, the last maps are
    averaged down to its 5×5.
    """
    pool = nn.AvgPool2d if params.pool == "average" else nn.MaxPool2d
    border = max(0, _PAPER_SIZE - image_size)
    sides = (border // 2, border - border // 2)  # an odd border's extra pixel is right and below
    stages: dict[str, nn.Module] = {
        "block1": nn.Sequential(
            nn.ZeroPad2d((*sides, *sides)),
            nn.Conv2d(channels, 6, 5),
            activation(params.activation),
            pool(2),
        ),
        "block2": nn.Sequential(nn.Conv2d(6, 16, 5), activation(params.activation), pool(2)),
    }
    fit = [nn.AdaptiveAvgPool2d(_LAST_MAP)] if image_size > _PAPER_SIZE else []
    dense = dense_head(16 * _LAST_MAP**2, (120, 84), classes, 0.0, params.activation)
    network = Classifier(stages, nn.Sequential(*fit, FlattenMaps(_LAST_MAP), *dense))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Glorot's deviation keeps a tanh network out of its flat ends.
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return network
