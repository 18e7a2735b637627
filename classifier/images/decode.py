"""The rules of decoding: from encoded bytes to 8-bit gray or colour, upright."""

import io
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

from classifier.images.formats import FORMATS, MAX_PIXELS

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
