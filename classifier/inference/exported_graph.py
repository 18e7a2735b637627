"""The whole way from images to probabilities as one network, for the exported formats.

What `classifier.core.resize.to_array` does outside of the network has to be done in the graph
here, so that whoever has the file needs nothing else of this project.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from classifier.core.resize import REDUCING_GAP, Interpolation, Resize
from classifier.inference.onnx_metadata import KNOWN, outputs
from classifier.models.classifier import Classifier
from classifier.models.forward import standardize
from classifier.models.known import KnownScore
from classifier.models.spec import ModelSpec


class Deployed(nn.Module):
    """uint8 images [N, H, W, C] of any one size -> probabilities [N, K] after the temperature.

    Images of the network's own size are taken as `to_array` gives them, with nothing cropped.
    And, where the model's decision takes more than these, how well known each image is, [N].
    """

    def __init__(self, network: Classifier, spec: ModelSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.known = None
        if spec.decision and KNOWN in outputs(spec):
            self.known = KnownScore(network, spec.decision)
        self.eval()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Resize as `to_array` does, scale, standardize, classify."""
        values = images.permute(0, 3, 1, 2).float()
        values = _sized(values, self.spec.image_size, self.spec.resize)
        values = standardize(values / 255, self.spec.mean, self.spec.std)
        logits = self.network(values)
        probabilities = torch.softmax(logits / self.spec.temperature, dim=1)
        return probabilities if self.known is None else (probabilities, self.known(logits))


def _sized(images: Tensor, size: int, resize: Resize) -> Tensor:
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

    Pixels ``start`` to ``stop`` of the image become ``inner`` pixels from ``offset`` on, which is
    negative where more are made than shown.
    """

    start: Tensor
    stop: Tensor
    inner: Tensor
    offset: Tensor


def resized(images: Tensor, size: int, resize: Resize) -> Tensor:
    """Resizing with antialiasing as `to_array` does it: [N, C, H, W] -> [N, C, size, size].

    Pillow first averages cells of whole pixels, where it shrinks far and the way `reduces`, then
    filters one axis after the other, and rounds after each of these steps. ONNX's own Resize knows
    no cells and no center crops, and rounds elsewhere.

    Args:
        images: whole numbers 0..255 as floats, and so is the result.
        resize: as for `classifier.core.resize.to_array`.
    """
    edges = [torch.arange(n + 1, dtype=torch.float64) for n in images.shape[2:]]
    height, width = (numbers[-1] for numbers in edges)
    vertical, horizontal = _kept(height, width, size, resize)
    if resize.reduces:
        # Of an axis at most so many cells: where there would be more, they are larger.
        most = int(2 * REDUCING_GAP * (size + 1)) + 6
        down, across = _cells(vertical, height, most), _cells(horizontal, width, most)
        # Sums over cells are differences of running sums; all are whole numbers, and so exact.
        images = _between(images.cumsum(2), 2, down.edges)
        images = _between(images.double().cumsum(3), 3, across.edges)
        counts = down.edges.diff()[:, None] * across.edges.diff()[None, :]
        images = _averaged(images, counts).float()
    else:
        down, across = (_Cells(numbers, torch.ones_like(height)) for numbers in edges)
    kind = resize.interpolation
    images = _rounded(images @ _filter(across, horizontal, size, kind).T)
    return _rounded(_filter(down, vertical, size, kind) @ images)


def _kept(height: Tensor, width: Tensor, size: int, resize: Resize) -> tuple[_Side, _Side]:
    """The part of each axis, vertical and horizontal, as `to_array` has it."""
    none = torch.zeros((), dtype=torch.float64)
    full = none + size
    if resize.mode == "pad":
        scale = size / torch.maximum(height, width)
        tall, wide = (torch.clamp(torch.round(n * scale), min=1.0) for n in (height, width))
        return (
            _Side(none, height, tall, torch.floor((full - tall) / 2)),
            _Side(none, width, wide, torch.floor((full - wide) / 2)),
        )
    side = torch.minimum(height, width)
    if resize.reduces:
        if resize.mode == "squash":
            return _Side(none, height, full, none), _Side(none, width, full, none)
        top, left = (height - side) / 2, (width - side) / 2
        return _Side(top, top + side, full, none), _Side(left, left + side, full, none)
    scaled = none + resize.scaled_size(size)
    down = torch.floor(scaled * height / side) if resize.mode == "crop" else scaled
    across = torch.floor(scaled * width / side) if resize.mode == "crop" else scaled
    return (
        _Side(none, height, down, -torch.round((down - size) / 2)),
        _Side(none, width, across, -torch.round((across - size) / 2)),
    )


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


def _filter(cells: _Cells, side: _Side, size: int, kind: Interpolation) -> Tensor:
    """What each cell gives to each of ``size`` new pixels, [size, cells].

    Pillow lays a triangle (or a cubic spline) as wide as two (four) new pixels, or as cells if
    these are more, over the cells.
    """
    number = torch.arange(size, dtype=torch.float64) - side.offset
    # As Pillow has them.
    start, stop = ((n / cells.width).float().double() for n in (side.start, side.stop))
    scale = (stop - start) / side.inner
    center = start - cells.edges[0] / cells.width + (number + 0.5) * scale
    place = torch.arange(len(cells.edges) - 1, dtype=torch.float64) + 0.5
    distance = torch.abs(place[None, :] - center[:, None]) / torch.clamp(scale, min=1.0)
    weights = _cubic(distance) if kind == "bicubic" else torch.clamp(1 - distance, min=0.0)
    weights = torch.where(cells.edges.diff()[None, :] > 0, weights, 0.0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    shown = (number >= 0) & (number < side.inner)
    return torch.where(shown[:, None], weights, 0.0).float()


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.5, as Pillow has it, for distances x >= 0.

    R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _rounded(values: Tensor) -> Tensor:
    return torch.clamp(torch.floor(values + 0.5), 0.0, 255.0)  # a cubic spline overshoots
