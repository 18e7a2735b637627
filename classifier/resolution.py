"""Progressive resolution: shrunk pictures first, which cost less, and full ones at the end.

Howard's progressive resizing (fast.ai's DAWNBench entry, 2018); Tan and Le, "EfficientNetV2", 2021,
https://arxiv.org/abs/2104.00298. It serves networks that take any size, such as those that pool
globally before their last layer.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def side_at(
    done: float, image_size: int, first_scale: float, full_from: float, step: int = 2
) -> int:
    """The side in pixels when the part ``done`` (0 to 1) of a run is over.

    It grows in a line from ``first_scale`` times ``image_size`` at the start to ``image_size`` at
    ``full_from`` (0 to 1), over multiples of ``step``, each a new shape that kernels are prepared
    for.
    """
    if done >= full_from or first_scale == 1:
        return image_size
    scale = first_scale + (1 - first_scale) * done / full_from
    return min(image_size, max(1, step * round(scale * image_size / step)))


def shrunk(images: Tensor, side: int) -> Tensor:
    """Images [N, C, S, S], float, resized to ``side`` × ``side``; the same ones if they have it.

    Bilinear with antialiasing, which is linear in each axis: one matrix product an axis gives what
    `torch.nn.functional.interpolate` does, and takes a third of its time on a CPU's batch. The same
    to rounding; to about 0.001 on a GPU whose products may run in TF32.
    """
    size = images.shape[-1]
    if size == side:
        return images
    identity = torch.eye(size, dtype=images.dtype, device=images.device)[None, None]
    matrix = F.interpolate(identity, (side, size), mode="bilinear", antialias=True)[0, 0]
    smaller = matrix @ images @ matrix.T
    return smaller.contiguous(memory_format=torch.channels_last)
