"""From a decoded image to the square of pixels that a network sees."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval
from PIL import Image

from classifier.core.parse import parse
from classifier.core.types import UInt8Array

# Large photographs are first shrunk by a whole factor, cell by cell, to no less than this many
# times the size asked for, and then by the filter: several times faster, and hard to tell from the
# filter alone. 2 is what Pillow's own thumbnails take.
REDUCING_GAP = 2.0
# A format that can decodes an image at a half, a quarter or an eighth, to no less than this many
# times the size asked for: of 12 megapixels the mean pixel at 224 changed by 0.1 steps of 255 then,
# and by five at most; of twice the size by 0.4, and nine (benchmarks/photos.md).
DECODING_GAP = 3
_LONGEST = 64  # times the size: the scaled rows and columns of a longer image are never all there
# Pixels. Files keep 6 digits of a fraction, and size / fraction must still reach a whole number.
_NEARLY = 0.005

Mode = Literal["squash", "crop", "pad"]
Interpolation = Literal["bilinear", "bicubic"]
Enough = Callable[[int, int], tuple[int, int]]
"""of an image's width and height, as how many pixels, across and down, it may be decoded"""
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Resize:
    """How an image becomes a square of ``size`` × ``size`` pixels.

    ``squash`` stretches both sides; ``crop`` scales the shorter side and keeps the center; ``pad``
    scales the longer side to ``size`` and centers it on black. ``interpolation`` is Pillow's filter
    with antialiasing. With a ``crop_fraction`` below 1, ``squash`` and ``crop`` scale to
    ``size / crop_fraction`` first, of which they keep the center.

    What is bilinear and keeps all of it (`reduces`) is this project's own way, with `REDUCING_GAP`
    and a center to fractions of a pixel. Everything else is what pretrained weights have seen:
    whole pixels scaled and cropped as `timm.data.create_transform` and torchvision's presets do
    it, to one step of 255.
    """

    mode: Mode = "squash"
    interpolation: Interpolation = "bilinear"
    crop_fraction: Annotated[float, Interval(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.mode == "pad" and self.crop_fraction != 1:
            raise ValueError("crop_fraction: what pad adds is not cropped; set it to 1.0")

    @property
    def reduces(self) -> bool:
        """Whether large images are averaged cell by cell before the filter."""
        return self.interpolation == "bilinear" and self.crop_fraction == 1

    def scaled_size(self, size: int) -> int:
        """The pixels that a side is scaled to, of which ``size`` are kept; rounded as in timm."""
        return math.floor(size / self.crop_fraction + _NEARLY)

    def scaled_sides(self, width: int, height: int, size: int) -> tuple[int, int]:
        """What ``squash`` or ``crop`` scales an image to, across and down, before the center."""
        scaled = self.scaled_size(size)
        if self.mode == "squash":
            return scaled, scaled
        shorter = min(width, height)
        return int(scaled * width / shorter), int(scaled * height / shorter)

    def enough(self, size: int) -> Enough:
        """As how many pixels larger images may be decoded for ``size``."""

        def enough(width: int, height: int) -> tuple[int, int]:
            if self.mode == "pad":
                across, down = (math.ceil(size * n / max(width, height)) for n in (width, height))
            else:
                across, down = self.scaled_sides(width, height, size)
            return DECODING_GAP * across, DECODING_GAP * down

        return enough

    def __str__(self) -> str:
        kept = f" of {100 * self.crop_fraction:.4g} %" if self.crop_fraction != 1 else ""
        filtered = f", {self.interpolation}" if self.interpolation != "bilinear" else ""
        return f"{self.mode}{kept}{filtered}"


SQUASH = Resize()


def described(resize: Resize) -> str | dict[str, Any]:
    """The JSON value of it: the mode alone where the rest is as ever."""
    return resize.mode if resize == Resize(resize.mode) else asdict(resize)


def resize_in(facts: Mapping[str, Any], key: str = "resize") -> Resize:
    """The way of resizing in the facts of a set or of a model, which are JSON.

    Raises:
        UserError: there is no such way.
    """
    given = facts["resize"]
    return parse(Resize, {"mode": given} if isinstance(given, str) else given, key)


def to_array(image: Image.Image, size: int, channels: int, resize: Resize = SQUASH) -> UInt8Array:
    """Resize a decoded image to a square: uint8 [size, size, channels], channels 1 or 3.

    Gray to color repeats the channel; color to gray is ITU-R 601-2 luma.
    """
    image = converted(image, "L" if channels == 1 else "RGB")
    width, height = image.size
    if resize.mode == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new(image.mode, (size, size))
        offset = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        canvas.paste(scaled(image, inner, None, resize), offset)
        image = canvas
    elif resize.reduces:
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side) if resize.mode == "crop" else None
        image = scaled(image, (size, size), box, resize)
    else:
        image = _center(image, size, resize)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def _center(image: Image.Image, size: int, resize: Resize) -> Image.Image:
    """The center of a scaled image, both to whole pixels: first along rows, then along columns."""
    width, height = image.size
    across, down = resize.scaled_sides(width, height, size)
    left, top = round((across - size) / 2), round((down - size) / 2)
    if max(across, down) > _LONGEST * size:  # Pillow rounds the box: rarely, by two steps of 255
        x, y = width / across, height / down
        box = (left * x, top * y, (left + size) * x, (top + size) * y)
        return scaled(image, (size, size), box, resize)
    image = scaled(image, (across, height), None, resize).crop((left, 0, left + size, height))
    return scaled(image, (size, down), None, resize).crop((0, top, size, top + size))


def converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in a mode, itself if it has that already."""
    return image if image.mode == mode else image.convert(mode)  # which would copy it


def scaled(
    image: Image.Image, size: tuple[int, int], box: Box | None, resize: Resize = SQUASH
) -> Image.Image:
    """The part ``box`` (None: all) of an image at another size, by the filter of ``resize``.

    Cells of whole pixels are averaged first (where it `Resize.reduces`), then rows are filtered,
    then columns. Pillow's resize could do all three at once, but in an order that depends on its
    version, and each step rounds; `classifier.inference.exported_graph` does the same for the
    exported formats.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    if image.size == size == (right - left, bottom - top):
        return image
    across = down = 1
    if resize.reduces:
        across = max(1, int((right - left) / size[0] / REDUCING_GAP))
        down = max(1, int((bottom - top) / size[1] / REDUCING_GAP))
    if across > 1 or down > 1:
        image = image.reduce((across, down))
    kind, width = _FILTERS[resize.interpolation], size[0]
    rows = (left / across, 0, right / across, image.height)
    image = image.resize((width, image.height), kind, box=rows)
    return image.resize(size, kind, box=(0, top / down, width, bottom / down))
