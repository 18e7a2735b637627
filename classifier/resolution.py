"""Progressive resolution: smaller pictures first, which cost less, and full ones at the end.

Howard's progressive resizing (fast.ai's DAWNBench entry, 2018); Tan and Le, "EfficientNetV2", 2021,
https://arxiv.org/abs/2104.00298. It serves networks that take any size, such as those that pool
globally before their last layer. Instead of shrunk pictures these can be windows cut out of them:
what they show has the size and the sharpness that it will have at the end.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

SmallerBy = Literal["resize", "crop"]


def side_at(done: float, image_size: int, first_scale: float, full_from: float) -> int:
    """The side in pixels when the part ``done`` (0 to 1) of a run is over.

    It grows in a line from ``first_scale`` times ``image_size`` at the start to ``image_size`` at
    ``full_from`` (0 to 1), in even steps, each a new shape that kernels are prepared for.
    """
    if done >= full_from or first_scale == 1:
        return image_size
    scale = first_scale + (1 - first_scale) * done / full_from
    return min(image_size, max(1, 2 * round(scale * image_size / 2)))


def smaller(images: Tensor, side: int, by: SmallerBy, random: torch.Generator) -> Tensor:
    """Images [N, C, H, H], float, made ``side`` × ``side``; the same ones if they have it.

    Args:
        by: ``resize`` the whole picture, or ``crop`` a window out of each at a random place.
    """
    if images.shape[-1] == side:
        return images
    made = shrunk(images, side) if by == "resize" else windows(images, side, random)
    return made.contiguous(memory_format=torch.channels_last)


def shrunk(images: Tensor, side: int) -> Tensor:
    """Images [N, C, H, W], float, resized to ``side`` × ``side``."""
    return F.interpolate(images, (side, side), mode="bilinear", antialias=True)


def windows(images: Tensor, side: int, random: torch.Generator) -> Tensor:
    """A window of ``side`` × ``side`` of each of images [N, C, H, H], all places equally likely."""
    places = images.shape[-1] - side + 1
    top, left = torch.randint(places, (2, len(images)), generator=random).to(images.device)
    every = images.unfold(2, side, 1).unfold(3, side, 1)  # a view: only what is taken is copied
    return every[torch.arange(len(images), device=images.device), :, top, left]
