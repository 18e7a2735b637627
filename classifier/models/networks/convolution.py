"""3×3 convolutions for a few CPU cores: the same values, from less arithmetic or a better shape."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from classifier.models.networks import side_by_side

_SMALL = 49  # positions of a map: from there on torch's own weight gradient is as fast
_WIDE = 128  # channels: with fewer, the product's sides are too short to be worth it
_ROWS = 1200  # of a product: what they take stays in a core's cache


class Convolution(nn.Conv2d):
    """A 3×3 convolution that keeps the side of its maps, faster on a CPU than torch's own.

    - Before a pooling by 2 (``pooled``) it does not compute the last row and column of maps with an
      odd side, which the pooling would drop: 13 of 49 values at a side of 7.
    - While it learns, small maps of several images are convolved side by side on a processor
      with AMX, see `side_by_side`; on others the gradient of the weights is a
      matrix product, see `_ByProduct`.

    Everything else is the same, to rounding. Elsewhere than on a CPU it is torch's own, as the gain
    has not been measured there.
    """

    def __init__(self, inputs: int, outputs: int, pooled: bool = False) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)
        self.pooled = pooled

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, out, H, W]; with ``pooled``, on a CPU, H and W made even."""
        if maps.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(maps)
        height, width = maps.shape[2:]
        learns = maps.dtype == torch.bfloat16 and torch.is_grad_enabled()
        if learns and side_by_side.is_faster(maps):
            return side_by_side.convolved(maps, self.weight, self.pooled)
        padding = 1
        if self.pooled and (height % 2 or width % 2):
            maps = F.pad(maps, (1, 1 - width % 2, 1, 1 - height % 2))
            height, width, padding = height // 2 * 2, width // 2 * 2, 0
        wide = min(self.weight.shape[:2]) >= _WIDE
        if learns and height * width <= _SMALL and wide:
            made: Tensor = _ByProduct.apply(maps, self.weight, padding)
            return made
        return F.conv2d(maps, self.weight, padding=padding)


class _ByProduct(torch.autograd.Function):
    """A convolution whose weights' gradient is a product of two matrices, in bfloat16.

    Each row of one is the 3×3 patch that made an output, each row of the other that output's
    gradient. torch's own kernel works along a map's rows, and these are short in a small map. Some
    images at a time, so that their patches, nine times their maps, stay in the cache; the parts
    are summed in float32.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.padding = padding
        return F.conv2d(maps, weight.to(maps.dtype), padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        maps, weight = ctx.saved_tensors
        by_maps = by_weight = None
        if ctx.needs_input_grad[0]:
            by_maps = conv2d_input(maps.shape, weight.to(maps.dtype), gradient, padding=ctx.padding)
        if ctx.needs_input_grad[1]:
            by_weight = _weight_gradient(maps, gradient, ctx.padding).to(weight.dtype)
        return by_maps, by_weight, None


def _weight_gradient(maps: Tensor, gradient: Tensor, padding: int) -> Tensor:
    """Of maps [N, C, H, W] and what came back for the outputs [N, out, h, w]: [out, C, 3, 3]."""
    channels, (outputs, height, width) = maps.shape[1], gradient.shape[1:]
    images = max(1, _ROWS // (height * width))
    total = torch.zeros(outputs, 9 * channels)
    for part, back in zip(maps.split(images), gradient.split(images), strict=True):
        padded = F.pad(part, [padding] * 4).permute(0, 2, 3, 1).contiguous()
        by_image, by_row, by_column, _ = padded.stride()
        patches = padded.as_strided(
            (len(part), height, width, 3, 3, channels),
            (by_image, by_row, by_column, by_row, by_column, 1),
        ).reshape(-1, 9 * channels)
        total += back.permute(0, 2, 3, 1).reshape(-1, outputs).T @ patches
    return total.view(outputs, 3, 3, channels).permute(0, 3, 1, 2)
