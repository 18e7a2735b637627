"""Parts of pictures erased, and pictures mixed with each other."""

import math

import numpy as np
import torch
from torch import Tensor


def boxes(center: Tensor, height: Tensor, width: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rectangles of whole pixels, cut off at the picture's edges.

    Args:
        center: float [2,N], from the top and from the left, in pixels.
        height, width: float [N], in pixels.
        size: side of the pictures.

    Returns:
        bool [N,1,size,size], true inside; float [N], the part of the picture inside, 0..1.
    """
    rows = _interval(center[0], height, size)
    columns = _interval(center[1], width, size)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    return inside, rows.sum(1) * columns.sum(1) / size**2


def random_boxes(n: int, size: int, generator: torch.Generator) -> Tensor:
    """Rectangles of 2 % to 33 % of the area, sides as 3:10 to 10:3, inside the picture where they
    fit (Zhong et al. 2020, Random Erasing Data Augmentation, arXiv:1708.04896).

    Returns:
        bool [n,1,size,size] on the CPU, true inside.
    """
    area, aspect, y, x = torch.rand(4, n, generator=generator)
    area = size**2 * (0.02 + 0.31 * area)
    aspect = torch.exp((2 * aspect - 1) * math.log(10 / 3))
    height, width = ((area * aspect).sqrt(), (area / aspect).sqrt())
    center_y = height / 2 + y * (size - height).clamp(min=0)
    center_x = width / 2 + x * (size - width).clamp(min=0)
    return boxes(torch.stack([center_y, center_x]), height, width, size)[0]


def erase(images: Tensor, inside: Tensor, fill: Tensor) -> Tensor:
    """Put the colour ``fill`` [1,C,1,1] inside the boxes (squares of one size: Cutout, DeVries &
    Taylor 2017, Improved Regularization of Convolutional Neural Networks, arXiv:1708.04552)."""
    return torch.where(inside.to(images.device), fill, images)


def _interval(center: Tensor, length: Tensor, size: int) -> Tensor:
    start = (center - length / 2).round()[:, None]
    position = torch.arange(size, device=center.device)
    return (position >= start) & (position < start + length.round()[:, None])


def beta(alpha: float, n: int, generator: torch.Generator) -> Tensor:
    """Draw n values from Beta(alpha, alpha), float32 [n] on the CPU.

    torch's own beta distribution takes no generator, so numpy's is seeded from it.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, n).astype(np.float32))


def mixup(images: Tensor, labels: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Add to ``share`` of each picture the rest of its neighbour (Zhang et al. 2018, mixup:
    Beyond Empirical Risk Minimization, arXiv:1710.09412).

    Args:
        images: float [N,C,H,W].
        labels: float [N,K].
        share: [N], 0..1; 1 changes nothing.
    """
    own = share.view(-1, 1, 1, 1).to(images.dtype)
    return torch.lerp(images.roll(1, 0), images, own), _mix_labels(labels, share)


def cutmix(images: Tensor, labels: Tensor, inside: Tensor, area: Tensor) -> tuple[Tensor, Tensor]:
    """Put into a box of each picture the same part of its neighbour, with labels by area (Yun
    et al. 2019, CutMix: Regularization Strategy to Train Strong Classifiers, arXiv:1905.04899).

    Args:
        images: float [N,C,H,W].
        labels: float [N,K].
        inside, area: the boxes as from ``boxes``.
    """
    return torch.where(inside, images.roll(1, 0), images), _mix_labels(labels, 1 - area)


def _mix_labels(labels: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(labels.roll(1, 0), labels, share[:, None].to(labels.dtype))
