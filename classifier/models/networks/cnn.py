"""The tutorials' plain convolutional network: blocks of convolution and pooling, then dense layers.

With ``batch_norm``, ``dropout`` and ``augment.*`` it climbs the usual ladder (baseline, + batch
norm, + dropout, + augmentation) as four settings of one network. Layout after Simonyan and
Zisserman, 2014, https://arxiv.org/abs/1409.1556; batch norm: Ioffe and Szegedy, 2015,
https://arxiv.org/abs/1502.03167; dropout: Srivastava et al., 2014,
https://jmlr.org/papers/v15/srivastava14a.html.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from torch import nn

from classifier.core.errors import UserError
from classifier.models.classifier import Classifier
from classifier.models.networks.layers import (
    ActivationName,
    Count,
    Dropout,
    FlattenMaps,
    Kernel,
    Widths,
    activation,
    dense_head,
    halved,
    he_initialize,
)

# Maps above this side are averaged down to it before the dense layer, which would otherwise grow
# with the square of the image size.
_LARGEST_DENSE_MAP = 4


@dataclass(frozen=True)
class CnnParams:
    """Settings under ``model.cnn``."""

    filters: Widths = (32, 64, 128)
    convolutions: Count = 1
    kernel_size: Kernel = 3
    batch_norm: bool = True
    dropout: Dropout = 0.0
    dense_units: Annotated[int, Interval(ge=0, le=65536)] = 128
    activation: ActivationName = "relu"

    def __post_init__(self) -> None:
        if self.kernel_size % 2 == 0:
            raise UserError(
                f"model.cnn.kernel_size: {self.kernel_size} is even; "
                "use an odd size, so that a map keeps its size"
            )


def cnn(params: CnnParams, classes: int, channels: int, image_size: int) -> Classifier:
    """One stage for each entry of ``filters``, pooling by 2 while the map has 4 pixels or more."""
    stages: dict[str, nn.Module] = {}
    size, inputs = image_size, channels
    for number, filters in enumerate(params.filters, start=1):
        layers: list[nn.Module] = []
        for _ in range(params.convolutions):
            layers += _convolution(inputs, filters, params)
            inputs = filters
        layers += [nn.MaxPool2d(2)] if halved(size) < size else []
        layers += [nn.Dropout(params.dropout)] if params.dropout else []
        size = halved(size)
        stages[f"block{number}"] = nn.Sequential(*layers)

    side = min(size, _LARGEST_DENSE_MAP)
    pool = [nn.AdaptiveAvgPool2d(side)] if side < size else []
    hidden = (params.dense_units,) if params.dense_units else ()
    dense = dense_head(inputs * side**2, hidden, classes, params.dropout, params.activation)
    network = Classifier(stages, nn.Sequential(*pool, FlattenMaps(side), *dense))
    he_initialize(network)
    return network


def _convolution(inputs: int, outputs: int, params: CnnParams) -> list[nn.Module]:
    convolution = nn.Conv2d(
        inputs,
        outputs,
        params.kernel_size,
        padding=params.kernel_size // 2,
        bias=not params.batch_norm,  # batch norm has its own
    )
    norm = [nn.BatchNorm2d(outputs)] if params.batch_norm else []
    return [convolution, *norm, activation(params.activation)]
