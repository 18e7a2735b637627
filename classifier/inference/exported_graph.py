"""The whole way from images to probabilities as one network, for the exported formats.

What `classifier.core.resize.to_array` does outside of the network has to be done in the graph
here, so that whoever has the file needs nothing else of this project.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from classifier.core.resize import REDUCING_GAP
from classifier.models.classifier import Classifier
from classifier.models.forward import standardize
from classifier.models.spec import ModelSpec


class Deployed(nn.Module):
    """uint8 images [N, H, W, C] of any one size -> probabilities [N, K] after the temperature."""

    def __init__(self, network: Classifier, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Resize as `to_array` does, scale, standardize, classify."""
        values = images.permute(0, 3, 1, 2).float()
        values = _sized(values, self.spec.image_size, self.spec.resize)
        values = standardize(values / 255, self.spec.mean, self.spec.std)
        return torch.softmax(self.network(values) / self.spec.temperature, dim=1)


def _sized(images: Tensor, size: int, resize: str) -> Tensor:
    """`resized`, and not a step of it where images come in the right size already."""
    height, width = (torch.arange(n)[-1] + 1 for n in images.shape[2:])
    all_of_it = torch.arange(size)

    def as_they_are(images: Tensor) -> Tensor:
        return images.index_select(2, all_of_it).index_select(3, all_of_it)

    def changed(images: Tensor) -> Tensor:
        return resized(images, size, resize)

    there = (height == size) & (width == size)
    result: Tensor = torch.cond(there, as_they_are, changed, (images,))
    return result


class _Side(NamedTuple):
    """The part of one axis that is shown, and where: scalars in double precision.

    Pixels ``start`` to ``stop`` of the image become ``inner`` pixels from ``offset`` on.
    """

    start: Tensor
    stop: Tensor
    inner: Tensor
    offset: Tensor


def resized(images: Tensor, size: int, resize: str) -> Tensor:
    """Bilinear resizing with antialiasing as Pillow does it: [N, C, H, W] -> [N, C, size, size].

    Pillow first averages cells of whole pixels, where it shrinks far, then filters one axis after
    the other, and rounds after each of these steps. ONNX's own Resize knows no cells and no center
    crops, and rounds elsewhere.

    Args:
        images: whole numbers 0..255 as floats, and so is the result.
        resize: squash, crop or pad, as for `classifier.core.resize.to_array`.
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
    most = int(2 * REDUCING_GAP * (size + 1)) + 6  # cells of an axis: with more, they are larger
    down, across = _cells(vertical, height, most), _cells(horizontal, width, most)
    # Sums over cells are differences of running sums; all are whole numbers, and so exact.
    images = _between(images.cumsum(2), 2, down.edges)
    images = _between(images.double().cumsum(3), 3, across.edges)
    counts = down.edges.diff()[:, None] * across.edges.diff()[None, :]
    images = _averaged(images, counts).float()
    images = _rounded(images @ _filter(across, horizontal, size).T)
    return _rounded(_filter(down, vertical, size) @ images)


class _Cells(NamedTuple):
    """The cells of one axis: ``edges`` [most + 1] in pixels, the last ones empty; their width."""

    edges: Tensor
    width: Tensor


def _cells(side: _Side, length: Tensor, most: int) -> _Cells:
    """Those of all the cells of ``length`` pixels that the filter may reach."""
    scale = (side.stop - side.start) / side.inner
    width = torch.clamp(torch.floor(scale / REDUCING_GAP), min=1.0)
    low = torch.floor((side.start - 0.5 * scale - 1) / width) * width
    numbers = torch.arange(most + 1, dtype=torch.float64)
    edges = torch.clamp(low, min=0.0) + numbers * width
    return _Cells(torch.minimum(edges, length), width)


def _between(sums: Tensor, axis: int, edges: Tensor) -> Tensor:
    """What running sums along ``axis`` (2 or 3) grow by from one of ``edges`` to the next."""
    found = sums.index_select(axis, torch.clamp(edges - 1, min=0).long())
    started = (edges > 0).to(found.dtype)
    found = found * (started[:, None] if axis == 2 else started)
    return found.narrow(axis, 1, len(edges) - 1) - found.narrow(axis, 0, len(edges) - 1)


def _averaged(sums: Tensor, counts: Tensor) -> Tensor:
    """Rounded means as Pillow's `reduce` has them: with inverses of the counts in 24 bits."""
    counts = counts.clamp(min=1)
    return torch.floor((sums + torch.floor(counts / 2)) * torch.floor(2**24 / counts) / 2**24)


def _filter(cells: _Cells, side: _Side, size: int) -> Tensor:
    """What each cell gives to each of ``size`` new pixels, [size, cells].

    Pillow lays a triangle as wide as a new pixel, or as a cell if that is more, over the cells.
    """
    number = torch.arange(size, dtype=torch.float64) - side.offset
    start, stop = ((n / cells.width).float().double() for n in (side.start, side.stop))
    scale = (stop - start) / side.inner
    center = start - cells.edges[0] / cells.width + (number + 0.5) * scale
    place = torch.arange(len(cells.edges) - 1, dtype=torch.float64) + 0.5
    distance = torch.abs(place[None, :] - center[:, None])
    weights = torch.clamp(1 - distance / torch.clamp(scale, min=1.0), min=0.0)
    weights = torch.where(cells.edges.diff()[None, :] > 0, weights, 0.0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    shown = (number >= 0) & (number < side.inner)
    return torch.where(shown[:, None], weights, 0.0).float()


def _rounded(values: Tensor) -> Tensor:
    return torch.floor(values + 0.5)
