"""Pixels of more than 8 bits, and which of their values become 0 and 255.

A camera of 12 bits, a scanner that counts from -1024 and a depth map in millimetres all come in
files of 16 or 32 bits, and no file says which part of that range is used. So the range is a fact
of the set: it is measured over the train split, and everything that uses the model applies the
same one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from classifier.core.types import AnyArray, UInt8Array
from classifier.core.value_range import Kind, Range, Ranges
from classifier.images.ground import laid_over

SIXTEEN_BITS: Range = (0, 65535)
# In files of 16 bits, whose range nothing else tells: below this, four bits or more are unused.
LOW_BITS = 4096

_PIXEL_OUTLIERS = 1e-4  # of an image's values at each end: hot and dead pixels of a camera
_IMAGE_OUTLIERS = 1e-2  # of a set's images: taken with another setting, or damaged
_WELL_USED = 4  # a natural range is taken unless this many times the range that is used
_OPAQUE = 0.75  # of the highest alpha: where a drawing fades out, its values are often made up
_BLOCK = 1 << 20  # values that are converted at a time

_TURNED: dict[Image.Transpose, Callable[[AnyArray], AnyArray]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: np.fliplr,
    Image.Transpose.FLIP_TOP_BOTTOM: np.flipud,
    Image.Transpose.ROTATE_90: np.rot90,
    Image.Transpose.ROTATE_180: lambda array: np.rot90(array, 2),
    Image.Transpose.ROTATE_270: lambda array: np.rot90(array, 3),
    Image.Transpose.TRANSPOSE: lambda array: array.swapaxes(0, 1),
    Image.Transpose.TRANSVERSE: lambda array: np.rot90(array, 2).swapaxes(0, 1),
}


@dataclass(frozen=True)
class Values:
    """An image of more than 8 bits a channel, as it was stored.

    ``array`` [H, W] or [H, W, 3] is uint16, int32, uint32 or float32; ``alpha`` [H, W] uint8 is
    how opaque each pixel is, 0 to 255, or None where all are. Where it is 0, so is the value.
    """

    array: AnyArray
    alpha: UInt8Array | None = None

    @property
    def kind(self) -> Kind:
        """Which of a set's ranges holds for it."""
        return "float" if self.array.dtype.kind == "f" else "integer"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.array.shape[1], self.array.shape[0]

    def image(self, ranges: Ranges) -> Image.Image:
        """As 8-bit gray or color, over a ground where it is transparent.

        Whole numbers low..high fall into 256 bins of one width, floats are rounded to the nearest
        of 256 levels. What lies outside of the range becomes 0 or 255.

        Args:
            ranges: of the set; a kind that it has not shown takes its format's own, 0..65535 or
                0..1.

        Raises:
            ValueError: there is no range for this kind, and the format's own does not fit.
        """
        low, high = ranges.get(self.kind) or self._of_the_format()
        flat = self.array.reshape(-1)
        found = np.empty(flat.shape, np.uint8)
        for start in range(0, len(flat), _BLOCK):
            part = flat[start : start + _BLOCK]
            if self.kind == "integer":
                wide = (part.astype(np.int64) - int(low)) * 256 // (int(high) - int(low) + 1)
                found[start : start + _BLOCK] = wide.clip(0, 255)
            else:
                scaled = (part.astype(np.float64) - low) * (255 / (high - low))
                found[start : start + _BLOCK] = scaled.round().clip(0, 255)
        image = Image.fromarray(found.reshape(self.array.shape))
        del found  # Pillow copies color
        return image if self.alpha is None else laid_over(image, Image.fromarray(self.alpha))

    def turned(self, way: Image.Transpose) -> "Values":
        """Mirrored or rotated as a Pillow image would be."""
        parts = (self.array, self.alpha)
        return Values(*(None if part is None else _TURNED[way](part) for part in parts))  # type: ignore[arg-type]

    def preview(self) -> Image.Image:
        """As `image`, with a range of its own: what there is to see, whatever the set is like."""
        return self.image({self.kind: _distinct(self.kind, *(self.extent() or (0, 0)))})

    def extent(self) -> Range | None:
        """The lowest and the highest value of opaque pixels, without outliers; None if all are
        transparent."""
        opaque = self._opaque()
        return _extent(opaque, opaque, _PIXEL_OUTLIERS) if opaque.size else None

    def _opaque(self) -> AnyArray:
        """The values of opaque pixels, one after another."""
        if self.alpha is None:
            return self.array.reshape(-1)
        opaque = self.alpha >= least_opaque(int(self.alpha.max()))
        # With one flag a value NumPy needs no indices, which take eight bytes each.
        return self.array[np.broadcast_to(opaque.T, self.array.T.shape).T]

    def _of_the_format(self) -> Range:
        opaque = self._opaque()
        low, high = (opaque.min().item(), opaque.max().item()) if opaque.size else (0, 0)
        if self.kind == "float":
            if low < 0 or high > 1:
                raise ValueError(
                    f"its floating-point values {low:g}..{high:g} are outside 0..1, and no image "
                    "of the train split shows their range"
                )
            return 0.0, 1.0
        if low < 0 or high > 65535:
            raise ValueError(
                f"its values {low}..{high} are outside the 16-bit range, and no image of the "
                "train split shows theirs"
            )
        if 0 < high < LOW_BITS:
            raise ValueError(
                f"its 16-bit values {low}..{high} use the low bits alone, and no image of the "
                "train split shows their range: convert it to 8 bits"
            )
        return SIXTEEN_BITS


def least_opaque(highest: int) -> float:
    """The lowest alpha of pixels whose values count, where the highest of the image is this."""
    return max(1, _OPAQUE * highest)


def value_ranges(extents: Iterable[tuple[Kind, float, float]]) -> dict[Kind, Range]:
    """The range of each kind of values in a set, from the kind and `extent` of its images.

    Whole numbers from 0 take all the values of as many bits as they use, 8 at least, and floats
    within 0..1 take 0..1; but where that is over four times the part that is used, or where values
    are negative, the range is that of the images. It leaves out a hundredth of the images that lie
    far from all others.
    """
    found: dict[Kind, list[Range]] = {}
    for kind, low, high in extents:
        found.setdefault(kind, []).append((low, high))
    ranges = {}
    for kind, ends in found.items():
        lows, highs = np.array(ends).T
        ranges[kind] = _distinct(kind, *_natural(kind, *_extent(lows, highs, _IMAGE_OUTLIERS)))
    return ranges


def _extent(lows: AnyArray, highs: AnyArray, fraction: float) -> Range:
    """The lowest and the highest value that is no outlier.

    A fraction of the values at each end is set aside, at least one. They count again as far as the
    whole width of the others beyond them.
    """
    lowest, highest = lows.min().item(), highs.max().item()
    aside = max(1, round(fraction * len(lows)))
    last = len(lows) - 1 - aside
    if last <= aside:
        return lowest, highest
    low, high = np.partition(lows, aside)[aside].item(), np.partition(highs, last)[last].item()
    width = high - low
    # Few pixels on an even ground are the drawing.
    return (max(lowest, low - width), min(highest, high + width)) if width else (lowest, highest)


def _natural(kind: str, low: float, high: float) -> Range:
    if kind == "float":
        # Six digits, which is what JSON files of the project keep.
        own, full = (float(f"{low:.6g}"), float(f"{high:.6g}")), 1.0
        fits = low >= 0 and high <= 1
    else:
        own, full = (low, high), 2 ** max(8, int(high).bit_length()) - 1
        fits = low >= 0
    return (0, full) if fits and (high - low) * _WELL_USED >= full else own


def _distinct(kind: str, low: float, high: float) -> Range:
    """A range that a constant image, or a set of them, can be divided by."""
    return low, high if high > low else low + (1.0 if kind == "float" else 255)
