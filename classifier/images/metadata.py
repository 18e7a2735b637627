"""What a file says besides its pixels. Pixels decide: broken metadata are left out, never a reason.

Pillow reads metadata while it opens a file and gives up on some that are broken or large. For each
format where that was found there is a way here to take them out.
Formats: https://www.w3.org/TR/png-3/, https://www.rfc-editor.org/rfc/rfc9649 (WebP), TIFF 6.0.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from PIL import Image

_ORIENTATION_TAG = 0x0112
_IN_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_WEBP_PIXELS = (b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF")
_WEBP_METADATA_FLAGS = 0b00101100  # of VP8X: profile, EXIF, XMP
_TIFF_PIXELS = frozenset({
    256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324,
    325, 338, 339, 347, *range(512, 522), *range(529, 533),
})  # fmt: skip
_AVIF_EXIF = re.compile(rb"(infe[\x02\x03].{7}(?:..)?)Exif", re.DOTALL)

Bare = tuple[bytes, Mapping[Any, Any]]


def upright(info: Mapping[Any, Any]) -> Image.Transpose | None:
    """How to turn an image that is stored sideways or mirrored; None where it stands upright.

    EXIF is asked first, then XMP. What is broken says nothing.

    Args:
        info: of a Pillow image, with what the file says besides its pixels.
    """
    # Most images have neither, and looking into EXIF takes as long as a small JPEG.
    found = None
    raw = info.get("exif")
    with suppress(Exception):  # Pillow raises nearly anything on a broken block
        if raw is None and (text := info.get("Raw profile type exif")):
            raw = bytes.fromhex("".join(text.split("\n")[3:]))
        if raw:
            exif = Image.Exif()
            exif.load(raw)
            found = exif.get(_ORIENTATION_TAG)
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if found is None and xmp:
        match = _IN_XMP.search(xmp if isinstance(xmp, bytes) else xmp.encode())
        found = int(match[1]) if match else None
    return _UPRIGHT.get(found) if isinstance(found, int) else None


def without(data: bytes) -> Bare | None:
    """The file without what its pixels do not need, and the metadata that `upright` looks at.

    None where the format is none of those that can be broken so, or the file is too damaged.
    """
    ways: dict[bytes, Callable[[bytes], Bare]] = {
        b"\x89PNG": _png, b"RIFF": _webp, b"II*\0": _tiff, b"MM\0*": _tiff,
    }  # fmt: skip
    way = ways.get(data[:4]) or (_avif if data[4:8] == b"ftyp" else None)
    with suppress(struct.error, IndexError):
        return way(data) if way else None
    return None


def _png(data: bytes) -> Bare:
    kept, info = [data[:8]], {}
    for kind, at, size in _chunks(data, 8, ">I4s", swapped=True):
        body = data[at : at + size]
        if kind in _PNG_PIXELS:
            kept.append(data[at - 8 : at + size + 4])
        elif kind == b"eXIf":
            info["exif"] = body
        elif kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0"):
            info["xmp"] = _text(body)
    return b"".join(kept), info


def _text(body: bytes) -> bytes:
    """What follows the keyword of an iTXt chunk, up to a mebibyte of it."""
    _, _, rest = body.partition(b"\0")
    if rest[:1] != b"\1":
        return rest
    with suppress(zlib.error):
        return zlib.decompressobj().decompress(rest[2:].split(b"\0", 2)[2], 2**20)
    return b""


def _webp(data: bytes) -> Bare:
    kept, info = [b"WEBP"], {}
    for kind, at, size in _chunks(data, 12, "<4sI"):
        body = data[at : at + size]
        if kind == b"VP8X":
            body = bytes([body[0] & ~_WEBP_METADATA_FLAGS]) + body[1:]
        elif kind not in _WEBP_PIXELS:
            info[kind.strip().decode("latin-1").lower()] = body
            continue
        kept.append(struct.pack("<4sI", kind, size) + body + bytes(size % 2))
    content = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(content)) + content, info


def _chunks(
    data: bytes, at: int, header: str, swapped: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each chunk, where its content starts, and how many bytes that has."""
    while at + 8 <= len(data):
        first, second = struct.unpack_from(header, data, at)
        kind, size = (second, first) if swapped else (first, second)
        yield kind, at + 8, size
        at += 8 + size + (4 if swapped else size % 2)


def _tiff(data: bytes) -> Bare:
    order = "<" if data[:1] == b"I" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    entries = [data[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    kept = [e for e in entries if struct.unpack_from(f"{order}H", e)[0] in _TIFF_PIXELS]
    # Nothing moves; the space that is left also ends the list of pages.
    table = (struct.pack(f"{order}H", len(kept)) + b"".join(kept)).ljust(6 + 12 * count, b"\0")
    return data[:start] + table + data[start + len(table) :], {}


def _avif(data: bytes) -> Bare:
    return _AVIF_EXIF.sub(rb"\1skip", data, count=1), {}
