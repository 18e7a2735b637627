"""Residual networks: layers learn a change to their input, so that depth no longer hurts.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015,
https://arxiv.org/abs/1512.03385. Depths 20 to 110 are its narrow CIFAR-10 networks of three stages
(section 4.2), 18 to 50 its ImageNet networks of four (table 1).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from classifier.models.classifier import Classifier
from classifier.models.networks.layers import Factor, conv_norm, halved, he_initialize, pooled_head

_LARGE = 64  # pixels; from here on the stem shrinks the image by 4, as the paper's for ImageNet

# Blocks in each of the four stages of the ImageNet networks.
_FOUR_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


@dataclass(frozen=True)
class ResnetParams:
    """Settings under ``model.resnet``."""

    depth: Literal[18, 20, 32, 34, 44, 50, 56, 110] = 20
    width: Factor = 1.0


def resnet(params: ResnetParams, classes: int, channels: int, image_size: int) -> Classifier:
    """A stem, then stages of residual blocks; each stage but the first halves the maps."""
    if params.depth in _FOUR_STAGES:
        blocks, bases = list(_FOUR_STAGES[params.depth]), [64, 128, 256, 512]
    else:
        blocks, bases = [(params.depth - 2) // 6] * 3, [16, 32, 64]
    widths = [max(1, round(params.width * base)) for base in bases]
    block = Bottleneck if params.depth == 50 else BasicBlock

    stages: dict[str, nn.Module] = {"stem": stem(channels, widths[0], image_size)}
    size = image_size // 4 if image_size >= _LARGE else image_size
    inputs = widths[0]
    for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
        stride = 2 if number > 1 and halved(size) < size else 1
        size = -(-size // stride)  # odd sides are rounded up
        # The CIFAR networks have shortcuts without weights ("option A").
        first = block(inputs, width, stride, free_shortcut=params.depth not in _FOUR_STAGES)
        inputs = width * block.expansion
        rest = (block(inputs, width, 1) for _ in range(count - 1))
        stages[f"stage{number}"] = nn.Sequential(first, *rest)
    network = Classifier(stages, pooled_head(inputs, classes))
    he_initialize(network)
    return network


def stem(channels: int, width: int, image_size: int) -> nn.Sequential:
    """First layers: 3×3 for small images; 7×7 in steps of 2 and a pool by 2 from 64 pixels on."""
    if image_size >= _LARGE:
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        return nn.Sequential(*conv_norm(channels, width, 7, stride=2), pool)
    return nn.Sequential(*conv_norm(channels, width, 3))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, free_shortcut: bool = False) -> None:
        super().__init__()
        first, second = conv_norm(inputs, width, 3, stride), conv_norm(width, width, 3)
        self.change = nn.Sequential(*first, *second[:2])  # the last ReLU follows the sum
        self.shortcut = _shortcut(inputs, width, stride, free_shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, width, H / stride, W / stride]."""
        return F.relu(self.change(maps) + self.shortcut(maps))


class Bottleneck(nn.Module):
    """A 3×3 convolution between 1×1 ones that narrow and widen the maps fourfold."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, free_shortcut: bool = False) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.change = nn.Sequential(
            *conv_norm(inputs, width, 1),
            *conv_norm(width, width, 3, stride),
            *conv_norm(width, outputs, 1)[:2],
        )
        self.shortcut = _shortcut(inputs, outputs, stride, free_shortcut)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, 4 · width, H / stride, W / stride]."""
        return F.relu(self.change(maps) + self.shortcut(maps))


class _PaddedShortcut(nn.Module):
    """Every ``stride``-th pixel, and channels of zeros for those that the input lacks."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.missing = outputs - inputs
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        thinned = maps[:, :, :: self.stride, :: self.stride]
        return F.pad(thinned, (0, 0, 0, 0, self.missing // 2, self.missing - self.missing // 2))


def _shortcut(inputs: int, outputs: int, stride: int, free: bool) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    if free:
        return _PaddedShortcut(inputs, outputs, stride)
    return nn.Sequential(*conv_norm(inputs, outputs, 1, stride)[:2])
