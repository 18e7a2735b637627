"""The rules of decoding: from encoded bytes to 8-bit gray or color, upright."""

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from classifier.core.resize import Enough
from classifier.core.value_range import Ranges
from classifier.images import jpeg, limits, metadata, remarks, stored
from classifier.images.formats import FORMATS, UnknownFormatError, is_heic, knows_heic
from classifier.images.ground import laid_over
from classifier.images.limits import MAX_PIXELS, TooLargeError
from classifier.images.values import SIXTEEN_BITS, Values


class Decoded(NamedTuple):
    """An upright image, in 8-bit gray ("L") or color ("RGB") or in the values that it has beyond
    8 bits, and the mode that it was stored in: Pillow's, or "RGB;16", "RGBA;16", "LA;16"."""

    pixels: Image.Image | Values
    mode: str

    @property
    def preview(self) -> Image.Image:
        """8-bit gray or color, whatever range of values the set has."""
        return self.pixels.preview() if isinstance(self.pixels, Values) else self.pixels


def decode(
    data: bytes,
    ranges: Ranges | None = None,
    most: int = MAX_PIXELS,
    said: list[str] | None = None,
    enough: Enough | None = None,
) -> Image.Image:
    """Decode a whole image into 8-bit gray ("L") or color ("RGB"), upright.

    The rules, in this order:

    - The first frame of an animation or of a multi-page file is the image.
    - Black-and-white and gray stay gray; palette, CMYK, YCbCr, HSV and Lab become RGB. Embedded
      color profiles and gamma values are not applied.
    - Values beyond 8 bits (whole numbers, floats) are brought to 0..255 by the range of the set;
      without one, by that of the format: 0..65535, which keeps the high byte, and 0..1. An image
      whose opaque pixels use the low bits alone is refused then.
    - Transparent pixels are laid over white, or over black where the drawing is white itself.
      BMP and TGA files that are transparent everywhere are taken for opaque.
    - The orientation that EXIF, XMP, TIFF or HEIC states is applied.
    - JPEG files are decoded at a half, a quarter or an eighth where that is ``enough``, which takes
      a fraction of the time. So whoever prepares images and whoever asks a model about others has
      to ask for the same.
    - Metadata that are broken or too large are passed over, and so is the missing end of a JPEG
      file that has all its pixels.

    Args:
        data: the file.
        ranges: of the set that the model was trained on, as in meta.json and in the model file.
        most: pixels that an image may have.
        said: is given Pillow's warnings, of metadata that it passes over and the like.
        enough: None: the image in all its pixels.

    Raises:
        ValueError: the bytes are cut off or damaged, or hold values whose range nothing tells;
            the message is the reason. Its subclasses `UnknownFormatError` and `TooLargeError`:
            no image of a known format (`FORMATS`), or one of more than ``most`` pixels, or that
            would take too long to decode (`classifier.images.limits`).
    """
    integers = (ranges or {}).get("integer")
    # The high bytes, which Pillow keeps, are all that is asked for.
    high = integers is None or tuple(integers) == SIXTEEN_BITS
    with remarks.kept([] if said is None else said):
        pixels = _read(data, most, high, enough).pixels
    return pixels.image(ranges or {}) if isinstance(pixels, Values) else pixels


def inspect(data: bytes, said: list[str] | None = None) -> Decoded:
    """Decode an image of a set whose range of values is not known yet; raises as `decode` does."""
    with remarks.kept([] if said is None else said):
        return _read(data, MAX_PIXELS, high=False, enough=None)


def _read(data: bytes, most: int, high: bool, enough: Enough | None) -> Decoded:
    if not data:
        raise ValueError("the file is empty")
    data = jpeg.trimmed(data)
    limits.check_file(data)
    try:
        return _opened(data, {}, most, high, enough)
    except (TooLargeError, UnknownFormatError, _RefusalError):
        raise
    except Image.DecompressionBombError:
        raise limits.too_many_pixels(most) from None
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        try:
            found = _mended(data, most, high)
        except Exception:
            found = None
        if found:
            return found
        if isinstance(error, Image.UnidentifiedImageError):
            raise UnknownFormatError(data) from None
        reason = str(error).strip() or type(error).__name__
        raise ValueError(f"damaged or cut off ({reason})") from None


def _mended(data: bytes, most: int, high: bool) -> Decoded | None:
    """The image in spite of what is wrong beside its pixels, if that is all."""
    if not data.startswith(jpeg.START):
        bare = metadata.without(data)
        return _opened(*bare, most, high) if bare else None
    versions = (_opened(version, {}, most, high) for version in jpeg.endings(data))
    first = next(versions, None)
    if first is None or any(other.preview != first.preview for other in versions):
        return None
    return first


def _opened(
    data: bytes, info: Mapping[Any, Any], most: int, high: bool, enough: Enough | None = None
) -> Decoded:
    """Decode a file; ``info`` is what it says besides its pixels, as far as Pillow is not told."""
    formats: tuple[str, ...] = FORMATS
    if is_heic(data):
        if not knows_heic():
            raise UnknownFormatError(data)
        formats = ("HEIF",)
    with Image.open(io.BytesIO(data), formats=formats) as opened:
        limits.check_header(opened, most)
        if opened.format == "JPEG2000" and b"\xff\xd9" not in data:
            raise _RefusalError("damaged or cut off (it has no end)")
        if stored.in_planes(opened):
            raise _RefusalError(
                "a TIFF file of over 8 bits that keeps its channels apart: convert it to 16-bit PNG"
            )
        mode = stored.mode(opened)
        if enough and isinstance(opened, JpegImageFile):
            opened.draft(None, enough(*opened.size))
        found: Image.Image | Values = opened
        if mode in stored.COLOR:
            found = stored.color(data, opened, high)
        else:
            opened.load()
        pixels = found if isinstance(found, Values) else _canonical(found)
        # PNG keeps metadata behind the pixels, too. TIFF and HEIC files are turned already.
        turn = (
            None if opened.format in ("TIFF", "HEIF") else metadata.upright({**opened.info, **info})
        )
    if isinstance(pixels, Values):
        return Decoded(pixels if turn is None else pixels.turned(turn), mode)
    pixels.info = {}  # nothing of the file but its pixels is kept
    return Decoded(pixels if turn is None else pixels.transpose(turn), mode)


def _keyed(image: Image.Image) -> bool:
    return "transparency" in image.info


class _RefusalError(ValueError):
    """A refusal of our own, as opposed to whatever a decoder raises."""


def _canonical(image: Image.Image) -> Image.Image | Values:
    mode = image.mode
    if mode in ("L", "RGB") and not _keyed(image):
        if image.format == "JPEG":  # holds nothing of its file any more
            return image
        # A plain copy lets go of the file's data and of further frames.
        return image.copy()
    if stored.is_deep(mode):
        return stored.gray(image)
    gray = mode in ("1", "L", "LA", "La")
    if mode in ("LA", "La", "RGBA", "RGBa", "PA") or _keyed(image):
        return _flat(image, *(("LA", "L") if gray else ("RGBA", "RGB")))
    return image.convert("L" if gray else "RGB")


def _flat(image: Image.Image, with_alpha: str, without: str) -> Image.Image:
    format_ = image.format
    image = image if image.mode == with_alpha else image.convert(with_alpha)
    alpha = image.getchannel("A")
    # Many programs that write these formats leave the alpha at 0 and do not mean it.
    if format_ in ("BMP", "TGA") and alpha.getextrema() == (0, 0):
        return image.convert(without)
    return laid_over(image.convert(without), alpha)
