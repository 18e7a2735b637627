"""From encoded bytes to the pixels that everything else sees: one set of rules for every picture.

Training, prediction and serving all go through `decode` and `to_array`, so that a picture means
the same wherever it comes in. Only Pillow and NumPy are imported here.
"""

import hashlib
import io
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

Resize = Literal["squash", "crop", "pad"]

# More pixels than this are a mistake or an attack: decoded, they would fill the memory.
# The number is Pillow's own threshold: a quarter of a gibibyte of RGB.
MAX_PIXELS = 89_478_485

# Large photographs are first shrunk by a whole factor, cell by cell, to no less than this many
# times the size asked for, and then by the filter: several times faster, and hard to tell from the
# filter alone. 2 is what Pillow's own thumbnails take.
REDUCING_GAP = 2.0

# What can be opened. Pillow knows more formats; among them are some that start other programs
# (EPS) or have no use as photographs, so the list says which are meant to come in. A camera's
# MPO file opens as the JPEG that it starts with.
FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "TGA",
)  # fmt: skip
EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".webp", ".avif", ".jp2",
    ".j2k", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
})  # fmt: skip

# `decode` compares the size itself, before any pixel is decoded, and refuses with a reason.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Decoded(NamedTuple):
    """A picture in canonical form, and the Pillow mode that it was stored in."""

    image: Image.Image
    mode: str


def decode(data: bytes) -> Image.Image:
    """Decode a whole picture into 8-bit gray ("L") or colour ("RGB"), upright.

    The rules, in this order:

    - The first frame of an animation or of a multi-page file is the picture.
    - Black-and-white and gray stay gray; palette, CMYK, YCbCr, HSV and Lab become RGB. Embedded
      colour profiles are not applied.
    - 16-bit gray keeps its high byte (Pillow does the same with 16-bit colour); floating-point
      gray must lie in 0..1 and is scaled to 0..255.
    - Transparent pixels are laid over white.
    - The EXIF orientation is applied.

    Raises:
        ValueError: the bytes are no picture of a known format (`FORMATS`), are cut off or
            damaged, or describe more than `MAX_PIXELS` pixels; the message is the reason.
    """
    return inspect(data).image


def inspect(data: bytes) -> Decoded:
    """`decode`, and the mode in which the picture was stored (such as "P" or "CMYK")."""
    if not data:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            width, height = opened.size
            if width * height > MAX_PIXELS:
                raise _too_large(width, height)
            mode = opened.mode
            opened.load()
            # Most pictures carry no EXIF block, and looking into one costs as much as a small
            # JPEG; TIFF keeps the tag among its own.
            tagged = "exif" in opened.info or opened.format in ("TIFF", "MPO")
            orientation = opened.getexif().get(_ORIENTATION_TAG, 1) if tagged else 1
            image = _canonical(opened)
    except Image.UnidentifiedImageError:
        raise ValueError("not a picture of a known format") from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {MAX_PIXELS:,} pixels") from None
    except _RefusalError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"damaged or cut off ({reason})") from None
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return Decoded(image, mode)


def to_array(image: Image.Image, size: int, channels: int, resize: Resize = "squash") -> np.ndarray:
    """Resize a decoded picture to a square: uint8 [size, size, channels], channels 1 or 3.

    ``squash`` stretches both sides to ``size``; ``crop`` scales the shorter side to ``size`` and
    keeps the centre; ``pad`` scales the longer side to ``size`` and centres it on black. The
    filter is bilinear with antialiasing. Gray to colour repeats the channel; colour to gray is
    ITU-R 601-2 luma.
    """
    image = _converted(image, "L" if channels == 1 else "RGB")
    width, height = image.size
    if resize == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new(image.mode, (size, size))
        offset = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        canvas.paste(_scaled(image, inner, None), offset)
        image = canvas
    elif resize == "crop":
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        image = _scaled(image, (size, size), (left, top, left + side, top + side))
    else:
        image = _scaled(image, (size, size), None)
    return np.asarray(image, dtype=np.uint8).reshape(size, size, channels)


def content_hash(image: Image.Image) -> str:
    """The same 32 hex digits for the same pixels, whatever the file format: BLAKE2b of the RGB.

    A gray picture equals its colour copy, since both mean the same pixels.
    """
    digest = hashlib.blake2b(b"%dx%d" % image.size, digest_size=16)
    digest.update(_converted(image, "RGB").tobytes())
    return digest.hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """A 64-bit pHash: pictures that look alike differ in few bits (see `perceptual_hashes`)."""
    return perceptual_hashes([thumbnail(image)])[0]


def hash_hex(value: int) -> str:
    """A perceptual hash as the 16 hex digits that the manifest holds."""
    return f"{value:016x}"


def thumbnail(image: Image.Image) -> np.ndarray:
    """The 32×32 gray picture (uint8) that the perceptual hash looks at."""
    return np.asarray(_scaled(_converted(image, "L"), (_THUMBNAIL, _THUMBNAIL), None))


def perceptual_hashes(thumbnails: Sequence[np.ndarray]) -> list[int]:
    """pHash of 32×32 gray pictures (uint8): 64-bit integers, compared by Hamming distance.

    Each bit says whether one of the 8×8 lowest frequencies of the discrete cosine transform is
    above the median of the 64 (C. Zauner, "Implementation and Benchmarking of Perceptual Image
    Hash Functions", 2010). The cosines are rounded to whole numbers, which makes every sum exact
    and the hash the same on every machine.
    """
    if not thumbnails:
        return []
    basis = _cosines()
    frequencies = basis @ np.stack(thumbnails).astype(np.float64) @ basis.T
    flat = frequencies.reshape(len(thumbnails), 64)
    bits = flat > np.median(flat, axis=1, keepdims=True)
    return [int.from_bytes(row.tobytes(), "big") for row in np.packbits(bits, axis=1)]


_THUMBNAIL = 32


@cache
def _cosines() -> np.ndarray:
    """The 8 lowest rows of the DCT-II of length 32, as whole numbers in float64 [8, 32]."""
    frequency = np.arange(8)[:, None]
    position = np.arange(_THUMBNAIL)[None, :]
    cosines = np.cos(np.pi * frequency * (2 * position + 1) / (2 * _THUMBNAIL))
    cosines[0] /= np.sqrt(2)
    return np.round(cosines * 4096)


class _RefusalError(ValueError):
    """A refusal of our own, as opposed to whatever a decoder raises."""


def _too_large(width: int, height: int) -> _RefusalError:
    return _RefusalError(f"{width:,}×{height:,} pixels are more than {MAX_PIXELS:,}")


def _canonical(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("L", "RGB") and "transparency" not in image.info:
        if image.format == "JPEG":  # holds nothing of its file any more, but for the metadata
            image.info = {}
            return image
        # A plain copy lets go of the file's data and of further frames.
        return image.copy()
    if mode == "1":
        return image.convert("L")
    if mode.startswith("I"):
        return _from_integers(np.asarray(image).astype(np.int64))
    if mode == "F":
        return _from_floats(np.asarray(image))
    if mode in ("LA", "La") or (mode == "L" and "transparency" in image.info):
        return _over_white(image.convert("LA") if mode != "LA" else image, "L")
    if mode in ("RGBA", "RGBa", "PA") or "transparency" in image.info:
        return _over_white(image.convert("RGBA") if mode != "RGBA" else image, "RGB")
    return image.convert("RGB")


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # which would copy it


def _over_white(image: Image.Image, mode: str) -> Image.Image:
    canvas = Image.new(mode, image.size, "white")
    canvas.paste(image.convert(mode), mask=image.getchannel("A"))
    return canvas


def _from_integers(values: np.ndarray) -> Image.Image:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise _RefusalError(f"its values {low}..{high} are outside the 16-bit range")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _from_floats(values: np.ndarray) -> Image.Image:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise _RefusalError("its floating-point values are outside 0..1")
    return Image.fromarray(np.round(values * 255).astype(np.uint8))


def _scaled(
    image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None
) -> Image.Image:
    """The part ``box`` (left, top, right, bottom; None: all) of a picture at another size.

    Cells of whole pixels are averaged first, then rows are filtered, then columns. Pillow's resize
    could do all three at once, but in an order that depends on its version, and each step rounds;
    `classifier.deployed` does the same for the exported formats.
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
