"""Values beyond 8 bits, read out of an opened file as they are stored there."""

import io
import sys
from typing import Any

import numpy as np
from PIL import Image

from classifier.array_types import AnyArray, BoolArray, UInt8Array, UInt16Array
from classifier.images.formats import FORMATS
from classifier.images.values import LOW_BITS, Values

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


def is_plain(opened: Image.Image) -> bool:
    """Whether Pillow's high bytes are those of the image: opaque 16-bit color, up to 65535.

    A ground behind transparent parts would hide how dark the rest is.
    """
    transparent = mode(opened) != "RGB;16" or "transparency" in opened.info
    return not transparent and not _ppm_maximum(opened)


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


def color(data: bytes, opened: Image.Image) -> Values:
    """The values of a file whose `mode` is one of `COLOR`, which was opened and not loaded."""
    key, name = opened.info.get("transparency"), mode(opened)
    if maximum := _ppm_maximum(opened):
        return Values(_ppm(data, opened, maximum))
    high, low = _bytes(data, _layout(opened))
    if name == "RGB;16":
        array = _joined(high, low)
        return Values(array) if key is None else _keyed(array, (array != key).any(axis=2))
    alpha = _joined(high[..., -1], low[..., -1])
    channels: Any = 0 if name == "LA;16" else slice(3)
    colors = _joined(high[..., channels], low[..., channels])
    highest = int(alpha.max())
    # Opaque is 4095 where a camera of 12 bits counts up to that.
    bits = highest.bit_length() if 0 < highest < LOW_BITS else 16
    full = (1 << bits) - 1
    if _layout(opened).startswith("RGBa"):  # premultiplied
        for row, opaque in zip(colors, alpha, strict=True):
            row[...] = (row * np.uint32(full) // np.maximum(opaque, 1)[:, None]).clip(0, 65535)
    seen = alpha >> (bits - 8) if bits > 8 else alpha * 255 // full
    return _seen(colors, seen.astype(np.uint8))


def _keyed(array: AnyArray, seen: BoolArray) -> Values:
    return _seen(array, seen.astype(np.uint8) * 255)


def _seen(array: AnyArray, alpha: UInt8Array) -> Values:
    """Only what is seen counts: hidden values become 0, and alpha that hides nothing is dropped."""
    if alpha.min() == 255:
        return Values(array)
    np.copyto(array.T, 0, where=(alpha == 0).T)
    return Values(array, alpha)


def _ppm(data: bytes, opened: Any, maximum: int) -> UInt16Array:
    width, height = opened.size
    stored = np.frombuffer(data, ">u2", width * height * 3, opened.tile[0].offset)
    scaled = (stored.astype(np.uint32) * 65535 + maximum // 2) // maximum
    return scaled.clip(0, 65535).astype(np.uint16).reshape(height, width, 3)


def _bytes(data: bytes, layout: str) -> tuple[UInt8Array, UInt8Array]:
    """The high and the low bytes, [H, W, 2 to 4], of gray or color and perhaps alpha."""
    if layout.startswith("LA"):  # two values of two bytes, as if they were four of one
        both = _loaded(data, "RGBA")
        return both[..., 0::2], both[..., 1::2]
    layout = layout.replace("a", "A")  # Pillow would divide the high bytes by alpha
    return _loaded(data, layout), _loaded(data, layout[:-1] + _OTHER_BYTE[layout[-1]])


def _joined(high: UInt8Array, low: UInt8Array) -> UInt16Array:
    found = np.empty(high.shape, np.uint16)
    for row, highs, lows in zip(found, high, low, strict=True):
        row[...] = highs
        row <<= 8
        row |= lows
    return found


def _loaded(data: bytes, layout: str) -> UInt8Array:
    """The pixels of a file as if they lay in it in another way."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        tiles: Any = opened.tile
        opened.tile = [
            tile._replace(args=layout if isinstance(tile.args, str) else (layout, *tile.args[1:]))
            for tile in tiles
        ]
        opened.load()
        return np.asarray(opened)


def _layout(opened: Any) -> str:
    args = opened.tile[0].args if getattr(opened, "tile", None) else ""
    return str(args if isinstance(args, str) else args[0] if args else "")


def _ppm_maximum(opened: Any) -> int:
    """The value of white in a binary PPM file of two bytes a value; 0 for every other file."""
    if opened.format != "PPM" or opened.mode != "RGB" or opened.tile[0].codec_name != "ppm":
        return 0
    maximum: int = opened.tile[0].args[1]
    return maximum if maximum > 255 else 0
