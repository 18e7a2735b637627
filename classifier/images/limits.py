"""What an image may cost to decode. All of it is known before any pixel is decoded.

A few hundred bytes can ask for hours of work and all the memory there is. Each limit lies far above
what cameras, scanners and programs write.
"""

import struct

from PIL import Image

from classifier.images import jpeg

# More pixels than this are a mistake or an attack: decoded, they would fill the memory.
# The number is Pillow's own threshold: a quarter of a gibibyte of RGB.
MAX_PIXELS = 89_478_485
# The longest side that a JPEG file can have. Every row costs two pointers, however short it is: a
# PNG file of 69 bytes and 89 million rows took 2 GB.
MAX_SIDE = 65_535
# Scans of a JPEG file, each of which passes over all pixels: encoders write up to 20 or so. It is
# also libtiff's limit, for JPEG within TIFF.
MAX_SCANS = 100
# Strips or tiles of a TIFF file, each of which is looked up by itself: a strip for each row of the
# longest side, and of each of four channels that are kept apart.
MAX_PARTS = 4 * (MAX_SIDE + 1)

_STRIPS, _TILES, _TILE_WIDTH, _TILE_HEIGHT = 273, 324, 322, 323  # TIFF tags


class TooLargeError(ValueError):
    """Decoding the image would take more than is allowed; the message is the reason."""


def check_file(data: bytes) -> None:
    """Refuse a file that would take too long even to open.

    Raises:
        TooLargeError: a JPEG file has over MAX_SCANS scans, or a TIFF file over MAX_PARTS parts.
    """
    if data.startswith(jpeg.START):
        if jpeg.has_more_scans(data, MAX_SCANS):
            raise TooLargeError(f"it has more than {MAX_SCANS} scans")
    elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and _parts(data) > MAX_PARTS:
        raise TooLargeError(f"it has more than {MAX_PARTS:,} strips or tiles")


def check_header(opened: Image.Image, most: int) -> None:
    """Refuse an opened file before its pixels are decoded.

    Raises:
        TooLargeError: it has over ``most`` pixels, or a side over MAX_SIDE; or a single tile of
            a TIFF file does, which is decoded whole however small the image is.
    """
    width, height = opened.size
    tags = getattr(opened, "tag_v2", {})
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_HEIGHT, 0)
    if tile > most:
        raise too_many_pixels(most, f"a tile of {tile:,}")
    if width * height > most:
        raise too_many_pixels(most, f"{width:,}×{height:,}")
    if max(width, height) > MAX_SIDE:
        raise TooLargeError(f"{width:,}×{height:,} pixels: a side is longer than {MAX_SIDE:,}")


def too_many_pixels(most: int, found: str = "") -> TooLargeError:
    """The error of an image with more than ``most`` pixels, as far as they are known."""
    size = f"{found} pixels are more than" if found else "it has more pixels than"
    return TooLargeError(f"{size} {most:,}")


def _parts(data: bytes) -> int:
    """The number of strips or tiles that the first image of a TIFF file has; 0 if it is damaged."""
    order = "<" if data[:1] == b"I" else ">"
    big = data[2:4].strip(b"\0") == b"+"  # BigTIFF, whose numbers have twice the width
    first, count, entry = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    step = struct.calcsize("=" + entry)
    try:
        (start,) = struct.unpack_from(order + first, data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + count, data, start)
        start += struct.calcsize("=" + count)
        table = data[start : start + min(entries, 1 << 16) * step]
        table = table[: len(table) // step * step]
        rows = struct.iter_unpack(order + entry, table)
        found = [number for tag, _, number, _ in rows if tag in (_STRIPS, _TILES)]
    except struct.error:
        return 0
    return max(found, default=0)
