"""3×3 convolutions of small maps in long rows, for processors that multiply tiles (Intel's AMX).

A tile holds 16 positions of a row. The rows of a map of 7×7 fill half of one, those of 3×3 a fifth.
Here the maps of several images lie side by side, a column of zeros between them, and are
convolved as one wide map (benchmarks/fast.md).
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_ROW = 64  # positions of a wide map's row, at most
_SMALL = 169  # positions of a map: from there on what the copies cost is no longer won


@cache
def has_tiles() -> bool:
    """Whether this processor has a matrix unit that works on tiles."""
    return bool(torch.cpu.get_capabilities().get("amx_tile", False))


def is_faster(maps: Tensor) -> bool:
    """Whether `convolved` takes less time here than torch's own convolution, for [N, C, H, W]."""
    return has_tiles() and maps.shape[2] * maps.shape[3] <= _SMALL


def convolved(maps: Tensor, weight: Tensor, pooled: bool) -> Tensor:
    """[N, C, H, W] by [out, C, 3, 3] -> [N, out, H, W]; with ``pooled``, H and W made even.

    As `Convolution`, to rounding. Both results of a pooling that
    follows and gradients are those of an ordinary convolution with a padding of 1.
    """
    count, _, height, width = maps.shape
    pitch = width + 1
    # An odd map's last row is left out by a row of zeros above in the place of padding.
    above = int(pooled and height % 2)
    layout = _Layout(count, min(count, max(1, _ROW // pitch)), pitch, above)
    wide = F.conv2d(_Lay.apply(maps, layout), weight, padding=(1 - above, 1))
    made: Tensor = _Take.apply(wide, replace(layout, above=0), width // 2 * 2 if pooled else width)
    return made


@dataclass(frozen=True)
class _Layout:
    """``count`` maps, ``together`` in a wide one, ``pitch`` columns apart, under ``above`` rows."""

    count: int
    together: int
    pitch: int
    above: int

    def lay(self, maps: Tensor) -> Tensor:
        """[N, C, H, W] -> [N / together, C, above + H, together · pitch], zeros around them."""
        _, channels, height, width = maps.shape
        wide = -(-self.count // self.together)
        row = self.together, self.pitch
        canvas = maps.new_zeros(wide, self.above + height, *row, channels)
        places = canvas[:, self.above :, :, :width].transpose(1, 2)  # [wide, together, H, W, C]
        images = maps.permute(0, 2, 3, 1)
        full, rest = divmod(self.count, self.together)
        places[:full] = images[: self.count - rest].unflatten(0, (full, self.together))
        if rest:
            places[full, :rest] = images[-rest:]
        return canvas.flatten(2, 3).permute(0, 3, 1, 2)

    def take(self, canvas: Tensor, width: int) -> Tensor:
        """The way back, for the first ``width`` columns of each map."""
        rows = canvas.permute(0, 2, 3, 1).unflatten(2, (self.together, self.pitch))
        places = rows[:, self.above :, :, :width].transpose(1, 2)
        return places.flatten(0, 1)[: self.count].permute(0, 3, 1, 2)


class _Lay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, layout: _Layout) -> Tensor:
        ctx.layout, ctx.width = layout, maps.shape[3]
        return layout.lay(maps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.layout.take(gradients[0], ctx.width), None


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvas: Tensor, layout: _Layout, width: int) -> Tensor:
        ctx.layout = layout
        return layout.take(canvas, width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.layout.lay(gradients[0]), None, None
