"""The whole way from pictures to probabilities as one network, for the exported formats.

What `classifier.images.to_array` does outside of the network has to be done in the graph here, so
that whoever has the file needs nothing else of this project.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from classifier.batches import standardise
from classifier.images import REDUCING_GAP
from classifier.modelfile import ModelSpec
from classifier.models.base import Classifier


class Deployed(nn.Module):
    """uint8 pictures [N, H, W, C] of any one size -> probabilities [N, K] after the temperature."""

    def __init__(self, network: Classifier, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """Resize as `to_array` does, scale, standardise, classify."""
        values = pictures.permute(0, 3, 1, 2).float()
        values = resized(values, self.spec.image_size, self.spec.resize)
        values = standardise(values / 255, self.spec.mean, self.spec.std)
        return torch.softmax(self.network(values) / self.spec.temperature, dim=1)


class _Side(NamedTuple):
    """The part of one axis that is shown, and where: scalars in double precision.

    Pixels ``start`` to ``stop`` of the picture become ``inner`` pixels from ``offset`` on.
    """

    start: Tensor
    stop: Tensor
    inner: Tensor
    offset: Tensor


def resized(images: Tensor, size: int, resize: str) -> Tensor:
    """Bilinear resizing with antialiasing as Pillow does it: [N, C, H, W] -> [N, C, size, size].

    Pillow's filter is linear in the pixels and works on one axis at a time, so that it is two
    matrix products; ONNX's own Resize knows neither the cells that Pillow averages first when it
    shrinks far, nor centre crops, and rounds elsewhere.

    Args:
        images: whole numbers 0..255 as floats, and so is the result.
        resize: squash, crop or pad, as for `classifier.images.to_array`.
    """
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in images.shape[2:])
    height, width = rows[-1] + 1, columns[-1] + 1
    none = torch.zeros((), dtype=torch.float64)
    full = none + size
    vertical, horizontal = _Side(none, height, full, none), _Side(none, width, full, none)
    if resize == "crop":
        side = torch.minimum(height, width)
        top, left = (height - side) / 2, (width - side) / 2
        vertical = _Side(top, top + side, full, none)
        horizontal = _Side(left, left + side, full, none)
    elif resize == "pad":
        scale = size / torch.maximum(height, width)
        tall, wide = (torch.clamp(torch.round(n * scale), min=1.0) for n in (height, width))
        vertical = _Side(none, height, tall, torch.floor((full - tall) / 2))
        horizontal = _Side(none, width, wide, torch.floor((full - wide) / 2))
    images = images @ _weights(columns, horizontal, size).T
    images = torch.floor(images + 0.5)
    images = _weights(rows, vertical, size) @ images
    return torch.floor(images + 0.5)


def _weights(position: Tensor, side: _Side, size: int) -> Tensor:
    """What each of the pixels at ``position`` gives to each of ``size`` new ones: [size, length].

    Pillow's `Image.resize(BILINEAR, reducing_gap=2)`: cells of a whole number of pixels are
    averaged, then a triangle as wide as a new pixel is laid over the cells.
    """
    span = side.stop - side.start
    per_cell = torch.clamp(torch.floor(span / side.inner / REDUCING_GAP), min=1.0)
    # Cells start a little outside of the part that is shown, as far as the filter reaches; without
    # cells the filter may reach any pixel.
    reach = torch.where(per_cell > 1, 0.5 * span / side.inner, span)
    low = torch.clamp(torch.floor(side.start - reach), min=0.0)
    high = torch.minimum(torch.ceil(side.stop + reach), position[-1] + 1)
    cell = torch.floor((position - low) / per_cell)
    inside = (position >= low) & (position < high)
    pixels = torch.where(inside, torch.minimum(per_cell, high - low - cell * per_cell), 1.0)

    number = torch.arange(size, dtype=torch.float64) - side.offset
    scale = span / per_cell / side.inner
    centre = (side.start - low) / per_cell + (number + 0.5) * scale
    distance = torch.abs(cell[None, :] + 0.5 - centre[:, None])
    weights = torch.clamp(1 - distance / torch.clamp(scale, min=1.0), min=0.0)
    weights = torch.where(inside[None, :], weights / pixels[None, :], 0.0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    shown = (number >= 0) & (number < side.inner)
    return torch.where(shown[:, None], weights, 0.0).float()
