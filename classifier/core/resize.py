"""From a decoded image to the square of pixels that a network sees."""

import numpy as np
from PIL import Image

from classifier.core.types import Resize

# Large photographs are first shrunk by a whole factor, cell by cell, to no less than this many
# times the size asked for, and then by the filter: several times faster, and hard to tell from the
# filter alone. 2 is what Pillow's own thumbnails take.
REDUCING_GAP = 2.0


def to_array(image: Image.Image, size: int, channels: int, resize: Resize = "squash") -> np.ndarray:
    """Resize a decoded image to a square: uint8 [size, size, channels], channels 1 or 3.

    ``squash`` stretches both sides to ``size``; ``crop`` scales the shorter side to ``size`` and
    keeps the center; ``pad`` scales the longer side to ``size`` and centers it on black. The
    filter is bilinear with antialiasing. Gray to color repeats the channel; color to gray is
    ITU-R 601-2 luma.
    """
    image = converted(image, "L" if channels == 1 else "RGB")
    width, height = image.size
    if resize == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new(image.mode, (size, size))
        offset = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        canvas.paste(scaled(image, inner, None), offset)
        image = canvas
    elif resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        image = scaled(image, (size, size), (left, top, left + side, top + side))
    else:
        image = scaled(image, (size, size), None)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in a mode, itself if it has that already."""
    return image if image.mode == mode else image.convert(mode)  # which would copy it


def scaled(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None
) -> Image.Image:
    """The part ``box`` (left, top, right, bottom; None: all) of an image at another size.

    Cells of whole pixels are averaged first, then rows are filtered, then columns. Pillow's resize
    could do all three at once, but in an order that depends on its version, and each step rounds;
    `classifier.inference.exported_graph` does the same for the exported formats.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    if image.size == size == (right - left, bottom - top):
        return image
    across = max(1, int((right - left) / size[0] / REDUCING_GAP))
    down = max(1, int((bottom - top) / size[1] / REDUCING_GAP))
    if across > 1 or down > 1:
        image = image.reduce((across, down))
    bilinear, width = Image.Resampling.BILINEAR, size[0]
    rows = (left / across, 0, right / across, image.height)
    image = image.resize((width, image.height), bilinear, box=rows)
    return image.resize(size, bilinear, box=(0, top / down, width, bottom / down))
