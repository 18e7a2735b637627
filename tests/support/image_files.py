"""Image files that Pillow cannot write, for the tests of decoding."""

import io
import struct
import zlib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from classifier.core.resize import Resize
from classifier.core.types import AnyArray
from classifier.images.decode import inspect
from classifier.images.values import Values

WAYS = (
    Resize("squash"),
    Resize("crop"),
    Resize("pad"),
    Resize("squash", "bicubic"),
    Resize("squash", "bilinear", 0.9),
    Resize("crop", "bicubic"),
    Resize("crop", "bicubic", 0.875),
    Resize("crop", "bilinear", 0.965517),
    Resize("pad", "bicubic"),
)

_COLORS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> the PNG color type


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The image in a format that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Smooth random colors, as photographs have them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png16(array: AnyArray, extra: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """PNG of 16 bits a channel, from [H, W] or [H, W, 2 to 4], with further chunks."""
    array = array.reshape(*array.shape[:2], -1)
    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLORS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(
    array: AnyArray,
    photometric: int | None = None,
    order: str = "<",
    extra: int = -1,
    deflated: bool = False,
    apart: bool = False,
) -> bytes:
    """TIFF of [H, W] or [H, W, C], of any type.

    Args:
        array: the values.
        photometric: what they mean; None for gray or color.
        order: of the bytes.
        extra: what a 4th channel is: 0 anything, 1 premultiplied alpha, 2 alpha.
        deflated: whether they are compressed.
        apart: whether the channels lie one after another.
    """
    kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    array = array.reshape(*array.shape[:2], -1)
    height, width, channels = array.shape
    bits = [8 * array.dtype.itemsize] * channels
    ordered = array.astype(array.dtype.newbyteorder(order))
    strips = [ordered[..., n].tobytes() for n in range(channels)] if apart else [ordered.tobytes()]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    data = b"".join(strips)
    starts = [8 + sum(map(len, strips[:n])) for n in range(len(strips))]
    if photometric is None:
        photometric = 2 if channels > 2 else 1
    tags: list[tuple[int, list[int]]] = [
        (256, [width]), (257, [height]), (258, bits), (259, [8 if deflated else 1]),
        (262, [photometric]), (273, starts), (277, [channels]), (278, [height]),
        (279, [len(strip) for strip in strips]), (284, [2 if apart else 1]),
        (339, [kind] * channels),
    ]  # fmt: skip
    if extra >= 0:
        tags.insert(-1, (338, [extra]))
    start = 8 + len(data)
    beyond = start + 2 + 12 * len(tags) + 4
    table, tail = struct.pack(f"{order}H", len(tags)), b""
    for tag, values in tags:
        code = "I" if tag in (273, 279) else "H"
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        head = struct.pack(f"{order}HHI", tag, 4 if code == "I" else 3, len(values))
        if len(packed) > 4:
            table += head + struct.pack(f"{order}I", beyond + len(tail))
            tail += packed
        else:
            table += head + packed.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", start) + data + table + bytes(4) + tail


def deep(data: bytes) -> Values:
    """The pixels of an image of more than 8 bits, as they are stored."""
    pixels = inspect(data).pixels
    assert isinstance(pixels, Values)
    return pixels
