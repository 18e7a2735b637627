"""Where each pixel of a picture comes from: exact moves by whole pixels, and affine maps."""

from typing import Literal

import torch
from torch import Tensor

Padding = Literal["reflect", "zero"]


def move(
    images: Tensor,
    flip_x: Tensor,
    flip_y: Tensor,
    shift_x: Tensor,
    shift_y: Tensor,
    padding: Padding = "reflect",
) -> Tensor:
    """Flip, then shift each picture by whole pixels: pixel values are copied, never computed.

    All pictures are gathered in one pass over their pixels, which a channels-last layout keeps
    together: on two CPU cores several times as fast as padding and cutting out.

    Args:
        images: [N,C,H,W], any dtype; fastest when channels-last.
        flip_x: bool [N], mirror left and right.
        flip_y: bool [N], mirror top and bottom.
        shift_x: integer [N], pixels to the right (negative: to the left); at most W - 1.
        shift_y: integer [N], pixels down (negative: up); at most H - 1.
        padding: what appears at the edge left behind; "reflect" mirrors the picture without
            repeating its outermost pixels, "zero" is black.

    Returns:
        [N,C,H,W] in channels-last memory order.
    """
    pixels = images.permute(0, 2, 3, 1).contiguous()
    n, height, width, channels = pixels.shape
    columns, inside_x = _sources(width, flip_x, shift_x)
    rows, inside_y = _sources(height, flip_y, shift_y)
    picture = torch.arange(n, device=images.device)[:, None]
    index = ((picture * height + rows) * width)[:, :, None] + columns[:, None, :]
    moved = pixels.reshape(-1, channels).index_select(0, index.flatten()).view(pixels.shape)
    if padding == "zero":
        moved.masked_fill_(~(inside_y[:, :, None] & inside_x[:, None, :])[..., None], 0)
    return moved.permute(0, 3, 1, 2)


def _sources(size: int, flip: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Along one axis, the source position of each target position, and whether it was inside."""
    last = size - 1
    position = torch.arange(size, device=shift.device) - shift[:, None]
    inside = (position >= 0) & (position <= last)
    position = last - (last - position.abs()).abs()  # mirrors at both ends
    return torch.where(flip[:, None], last - position, position), inside
