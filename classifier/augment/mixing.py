"""Parts of images erased, and images mixed with each other."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from classifier.augment.draws import Draws


class Boxes(NamedTuple):
    """One rectangle of whole pixels for each of N images: the pixels in a row and a column of it.

    Attributes:
        rows: bool [N,H].
        columns: bool [N,W].
    """

    rows: Tensor
    columns: Tensor

    def areas(self) -> Tensor:
        """The part of each image that is inside, float [N], 0..1."""
        pixels = self.rows.shape[1] * self.columns.shape[1]
        return self.rows.sum(1) * self.columns.sum(1) / pixels


def boxes(center: Tensor, height: Tensor, width: Tensor, size: int) -> Boxes:
    """Rectangles cut off at the edges of images of a side of ``size`` pixels.

    Args:
        center: float [2,N], from the top and from the left, in pixels.
        height, width: float [N], in pixels.
    """
    return Boxes(_interval(center[0], height, size), _interval(center[1], width, size))


def random_boxes(n: int, size: int, draws: Draws) -> Boxes:
    """Rectangles of 2 % to 33 % of the area, sides as 3:10 to 10:3, inside the image where they
    fit (Zhong et al. 2020, Random Erasing Data Augmentation, arXiv:1708.04896); on the CPU."""
    area, aspect, y, x = draws.uniform(n, parts=(4,))
    area = size**2 * (0.02 + 0.31 * area)
    aspect = torch.exp((2 * aspect - 1) * math.log(10 / 3))
    height, width = ((area * aspect).sqrt(), (area / aspect).sqrt())
    center_y = height / 2 + y * (size - height).clamp(min=0)
    center_x = width / 2 + x * (size - width).clamp(min=0)
    return boxes(torch.stack([center_y, center_x]), height, width, size)


def paste(images: Tensor, other: Tensor, inside: Boxes) -> Tensor:
    """Take the pixels inside the boxes from ``other``.

    Args:
        images: float [N,C,H,W]; fastest when channels-last.
        other: the same shape, or [1,C,H,W] for all images; same dtype and device.
        inside: on any device.

    Returns:
        [N,C,H,W] in channels-last memory order.
    """
    n, channels, height, width = images.shape
    # Numbers of 0 and 1 over whole rows of pixels and channels: interpolating to one end is exact,
    # and on a CPU three times as fast as a choice by a bool mask over the channels.
    rows, other_rows = (part.permute(0, 2, 3, 1).flatten(2) for part in (images, other))
    in_rows, in_columns = (part.to(images.device, images.dtype) for part in inside)
    mask = in_rows[:, :, None] * in_columns.repeat_interleave(channels, dim=1)[:, None, :]
    pasted = torch.lerp(rows, other_rows, mask)
    return pasted.view(n, height, width, channels).permute(0, 3, 1, 2)


def mixup(images: Tensor, labels: Tensor, fraction: Tensor) -> tuple[Tensor, Tensor]:
    """Add to ``fraction`` of each image the rest of its neighbor (Zhang et al. 2018, mixup:
    Beyond Empirical Risk Minimization, arXiv:1710.09412).

    Args:
        images: float [N,C,H,W].
        labels: float [N,K].
        fraction: [N], 0..1; 1 changes nothing.
    """
    fraction = fraction.to(images.device)
    own = fraction.view(-1, 1, 1, 1).to(images.dtype)
    return torch.lerp(images.roll(1, 0), images, own), _mix_labels(labels, fraction)


def cutmix(images: Tensor, labels: Tensor, inside: Boxes) -> tuple[Tensor, Tensor]:
    """Put into a box of each image the same part of its neighbor, with labels by area (Yun
    et al. 2019, CutMix: Regularization Strategy to Train Strong Classifiers, arXiv:1905.04899).

    Args:
        images: float [N,C,H,W].
        labels: float [N,K].
        inside: the boxes.
    """
    own = 1 - inside.areas().to(labels.device)
    return paste(images, images.roll(1, 0), inside), _mix_labels(labels, own)


def _mix_labels(labels: Tensor, fraction: Tensor) -> Tensor:
    return torch.lerp(labels.roll(1, 0), labels, fraction[:, None].to(labels.dtype))


def _interval(center: Tensor, length: Tensor, size: int) -> Tensor:
    start = (center - length / 2).round()[:, None]
    position = torch.arange(size, device=center.device)
    return (position >= start) & (position < start + length.round()[:, None])
