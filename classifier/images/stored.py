"""Values beyond 8 bits, read out of an opened file as they are stored there."""

import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from classifier.core.types import AnyArray, BoolArray, UInt8Array, UInt16Array
from classifier.images.formats import FORMATS
from classifier.images.values import LOW_BITS, Values, least_opaque

# Pillow's names for how 16-bit color lies in a file, without the byte order that ends them, and
# the mode that it has in the manifest. Pillow calls it RGB or RGBA and keeps the high bytes alone.
_LAYOUTS = {
    "RGB;16": "RGB;16", "RGBX;16": "RGB;16", "RGBA;16": "RGBA;16", "RGBa;16": "RGBA;16",
    "LA;16": "LA;16",
}  # fmt: skip
COLOR = frozenset(_LAYOUTS.values())
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a TIFF tag
_SAMPLE_FORMAT, _UNSIGNED = 339, (1,)  # another, and its default
_BLOCK = 1 << 18  # pixels that are joined at a time
_BITS, _CHANNELS, _PLANES, _APART = 258, 277, 284, 2


def mode(opened: Image.Image) -> str:
    """The mode of an image that is not loaded yet: Pillow's, but for 16-bit color."""
    if _ppm_maximum(opened):
        return "RGB;16"
    return _LAYOUTS.get(_layout(opened)[:-1], opened.mode)


def is_deep(mode: str) -> bool:
    """Whether images of a mode have values beyond 8 bits."""
    return mode in COLOR or mode == "F" or mode.startswith("I")


def in_planes(opened: Image.Image) -> bool:
    """Whether a TIFF file of over 8 bits keeps each channel apart: Pillow mixes up their bytes."""
    tags = getattr(opened, "tag_v2", {})
    apart = tags.get(_PLANES) == _APART and tags.get(_CHANNELS, 1) > 1
    return apart and max(tags.get(_BITS, (1,))) > 8


def gray(image: Image.Image) -> Values:
    """The values of a loaded image in Pillow's mode F, I or I;16.

    Raises:
        ValueError: some are no numbers, or infinite.
    """
    array = np.asarray(image)
    array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("some of its floating-point values are infinite or no numbers")
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        if image.mode == "I" and tags.get(_SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED:
            array = array.view(np.uint32)  # Pillow has no other mode for them
        # As Pillow does it for 8 bits.
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            array = 65535 - array if array.dtype == np.uint16 else 1 - array
    key = image.info.get("transparency")
    return Values(array) if key is None else _keyed(array, array != key)


def color(data: bytes, opened: Image.Image, high: bool) -> Image.Image | Values:
    """The values of a file whose `mode` is one of `COLOR`, which was opened and not loaded.

    With ``high``, only the high bytes are asked for. Where they tell all they are the answer, as
    Pillow's 8-bit image. Else ``opened`` is closed.
    """
    if maximum := _ppm_maximum(opened):
        return Values(_ppm(data, opened, maximum))
    key, name, layout = opened.info.get("transparency"), mode(opened), _layout(opened)
    gray, premultiplied = name == "LA;16", layout.startswith("RGBa")
    # Gray and alpha of two bytes are read as if they were four values of one. Premultiplied color
    # is read as it lies there: Pillow would divide its high bytes by alpha.
    layout = "RGBA" if gray else layout.replace("a", "A")
    _load(opened, layout)
    if high and key is None and not gray and not premultiplied and not _is_dark(opened):
        return opened
    width, height = opened.size
    array = np.empty((height, width) if gray else (height, width, 3), np.uint16)
    alpha = np.empty((height, width), np.uint16)
    channels = [*_channels(array), alpha]
    step = 2 if gray else 1
    for rows, values in _bands(opened):
        for channel, stored in zip(channels, _channels(values)[::step], strict=False):
            np.left_shift(stored, 8, out=channel[rows], dtype=np.uint16)
    if not gray:
        opened.close()  # lets go of the high bytes
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
        _load(opened, layout[:-1] + _OTHER_BYTE[layout[-1]])
    for rows, values in _bands(opened):
        for channel, stored in zip(channels, _channels(values)[step - 1 :: step], strict=False):
            channel[rows] |= stored
    opened.close()
    if name == "RGB;16":
        return Values(array) if key is None else _keyed(array, (array != key).any(axis=2))
    highest = int(alpha.max())
    # Opaque is 4095 where a camera of 12 bits counts up to that.
    bits = highest.bit_length() if 0 < highest < LOW_BITS else 16
    full = (1 << bits) - 1
    if premultiplied:
        for row, opaque in zip(array, alpha, strict=True):
            row[...] = (row * np.uint32(full) // np.maximum(opaque, 1)[:, None]).clip(0, 65535)
    seen = alpha >> (bits - 8) if bits > 8 else alpha * 255 // full
    return _seen(array, seen.astype(np.uint8))


def _is_dark(image: Image.Image) -> bool:
    """Whether the low bytes of an image count: its alpha, or what is opaque, uses them alone."""
    opaque = None
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        highest = int(np.max(alpha.getextrema()))
        if highest < LOW_BITS >> 8:
            return True
        opaque = alpha.point([255 * (value >= least_opaque(highest)) for value in range(256)])
    counts = np.reshape(image.histogram(opaque), (-1, 256))[:3]
    return not counts[:, LOW_BITS >> 8 :].any()


def _keyed(array: AnyArray, seen: BoolArray) -> Values:
    return _seen(array, seen.astype(np.uint8) * 255)


def _seen(array: AnyArray, alpha: UInt8Array) -> Values:
    """Only what is seen counts: hidden values become 0, and alpha that hides nothing is dropped."""
    if alpha.min() == 255:
        return Values(array)
    hidden = alpha == 0
    for channel in _channels(array):
        channel[hidden] = 0
    return Values(array, alpha)


def _ppm(data: bytes, opened: Any, maximum: int) -> UInt16Array:
    width, height = opened.size
    stored = np.frombuffer(data, ">u2", width * height * 3, opened.tile[0].offset)
    scaled = (stored.astype(np.uint32) * 65535 + maximum // 2) // maximum
    return scaled.clip(0, 65535).astype(np.uint16).reshape(height, width, 3)


def _channels(array: AnyArray) -> list[AnyArray]:
    """Views [H, W]: NumPy is slow where the innermost axis has three values."""
    return [array] if array.ndim == 2 else [*np.moveaxis(array, -1, 0)]


def _bands(image: Image.Image) -> Iterator[tuple[slice, UInt8Array]]:
    """Some rows at a time, as [rows, W, 3 or 4]: the array of all would be another copy or two."""
    width, height = image.size
    count = max(1, _BLOCK // width)
    for top in range(0, height, count):
        rows = slice(top, min(top + count, height))
        yield rows, np.asarray(image.crop((0, rows.start, width, rows.stop)))


def _load(opened: Any, layout: str) -> None:
    """Decode a file as if its pixels lay in it in another way."""
    tiles: Any = opened.tile
    opened.tile = [
        tile._replace(args=layout if isinstance(tile.args, str) else (layout, *tile.args[1:]))
        for tile in tiles
    ]
    opened.load()


def _layout(opened: Any) -> str:
    args = opened.tile[0].args if getattr(opened, "tile", None) else ""
    return str(args if isinstance(args, str) else args[0] if args else "")


def _ppm_maximum(opened: Any) -> int:
    """The value of white in a binary PPM file of two bytes a value; 0 for every other file."""
    if opened.format != "PPM" or opened.mode != "RGB" or opened.tile[0].codec_name != "ppm":
        return 0
    maximum: int = opened.tile[0].args[1]
    return maximum if maximum > 255 else 0
