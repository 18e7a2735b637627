"""Wide residual networks: fewer layers with more channels train faster and score higher.

Zagoruyko and Komodakis, "Wide residual networks", 2016, https://arxiv.org/abs/1605.07146, with
blocks in the order norm, ReLU, convolution: He et al., "Identity mappings in deep residual
networks", 2016, https://arxiv.org/abs/1603.05027.
"""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval
from torch import Tensor, nn

from classifier.core.errors import UserError
from classifier.models.classifier import Classifier
from classifier.models.networks.layers import Dropout, Factor, halved, he_initialize, pooled_head

_LARGE = 64  # pixels; from here on the stem shrinks the image by 4


@dataclass(frozen=True)
class WideResnetParams:
    """Settings under ``model.wide_resnet``."""

    depth: Annotated[int, Interval(ge=10, le=1000)] = 16
    widen: Factor = 4.0
    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        if self.depth % 6 != 4:
            raise UserError(
                f"model.wide_resnet.depth: {self.depth} is not 6n + 4; use 10, 16, 22, 28 or 40"
            )


def wide_resnet(
    params: WideResnetParams, classes: int, channels: int, image_size: int
) -> Classifier:
    """WRN-depth-widen: a stem and three stages of (depth - 4) / 6 blocks."""
    widths = [max(1, round(params.widen * base)) for base in (16, 32, 64)]
    stages: dict[str, nn.Module] = {}
    if image_size >= _LARGE:
        shrink = nn.MaxPool2d(3, stride=2, padding=1)
        stages["stem"] = nn.Sequential(
            nn.Conv2d(channels, 16, 7, stride=2, padding=3, bias=False), shrink
        )
        size = image_size // 4
    else:
        stages["stem"] = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        size = image_size
    inputs = 16
    for number, width in enumerate(widths, start=1):
        stride = 2 if number > 1 and halved(size) < size else 1
        size = -(-size // stride)  # odd sides are rounded up
        blocks: list[nn.Module] = []
        for _ in range((params.depth - 4) // 6):
            blocks.append(PreactivationBlock(inputs, width, stride, params.dropout))
            inputs, stride = width, 1
        stages[f"stage{number}"] = nn.Sequential(*blocks)
    stages["norm"] = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
    network = Classifier(stages, pooled_head(inputs, classes))
    he_initialize(network)
    return network


class PreactivationBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        # Not in place: the shortcut may still need what comes in.
        self.enter = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.change = nn.Sequential(
            nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            *([nn.Dropout(dropout)] if dropout else []),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        changes_shape = inputs != width or stride != 1
        self.project = nn.Conv2d(inputs, width, 1, stride, bias=False) if changes_shape else None

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, width, H / stride, W / stride]."""
        entered = self.enter(maps)
        shortcut = maps if self.project is None else self.project(entered)
        result: Tensor = shortcut + self.change(entered)
        return result
