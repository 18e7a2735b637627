"""What would cost minutes or gigabytes to decode is refused before it does."""

import io
import struct
import time
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from classifier.images.decode import decode
from classifier.images.limits import MAX_PARTS, MAX_SCANS, MAX_SIDE, TooLargeError
from tests.support.image_files import chunk, encoded, photograph


def png(width: int, height: int) -> bytes:
    """A gray PNG file that says it has this size, and holds next to nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def progressive(scans: int) -> bytes:
    """A progressive JPEG file with its last scan repeated."""
    data = encoded(photograph(size=(64, 48)), "JPEG", progressive=True)
    start = data.rfind(b"\xff\xda")
    usual = data.count(b"\xff\xda")
    return data[:start] + data[start:-2] * (scans - usual + 1) + data[-2:]


def tiff(*entries: tuple[int, int, int], content: bytes, big: bool = False) -> bytes:
    """A gray TIFF file of 3000×3000 pixels; an entry is tag, number of values, value or place."""
    usual = [(256, 1, 3000), (257, 1, 3000), (258, 1, 8), (259, 1, 1), (262, 1, 1), (277, 1, 1)]
    all_of_them = sorted([*usual, *entries])
    head, rows, entry = (
        (struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16), "<Q", "<HHQQ")
        if big
        else (struct.pack("<2sHI", b"II", 42, 8), "<H", "<HHII")
    )
    table = b"".join(struct.pack(entry, tag, 4, count, value) for tag, count, value in all_of_them)
    return head + struct.pack(rows, len(all_of_them)) + table + bytes(8) + content


def tiles(number: int, big: bool = False) -> bytes:
    entries = [(322, 1, 16), (323, 1, 16), (324, number, 400), (325, number, 400)]
    return tiff(*entries, content=bytes(400 + 8 * number), big=big)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: png(1, 89_000_000), r"1×89,000,000 pixels: a side is longer than 65,535"),
        (lambda: png(MAX_SIDE + 1, 1), "a side is longer"),
        (lambda: png(10_000, 10_000), "10,000×10,000 pixels are more than 89,478,485"),
        (lambda: progressive(MAX_SCANS + 1), "it has more than 100 scans"),
        (lambda: tiles(MAX_PARTS + 1), "more than 262,144 strips or tiles"),
        (lambda: tiles(MAX_PARTS + 1, big=True), "more than 262,144 strips or tiles"),
        (
            lambda: tiff((322, 1, 13_000), (323, 1, 13_000), (324, 1, 300), content=bytes(900)),
            "a tile of 169,000,000 pixels are more than 89,478,485",
        ),
    ],
)
def test_what_costs_too_much_is_refused_at_once(made: Callable[[], bytes], reason: str) -> None:
    data = made()
    begun = time.process_time()
    with pytest.raises(TooLargeError, match=reason):
        decode(data)
    assert time.process_time() - begun < 0.5


def test_what_a_user_of_the_limits_may_have_is_taken() -> None:
    assert decode(encoded(Image.new("1", (MAX_SIDE, 1)), "PNG")).size == (MAX_SIDE, 1)
    assert decode(progressive(MAX_SCANS)).size == (64, 48)
    buffer = io.BytesIO()
    Image.new("L", (3000, 3000)).save(buffer, "TIFF", tiffinfo={278: 1})  # a strip for each row
    assert decode(buffer.getvalue()).size == (3000, 3000)


def test_scans_of_thumbnails_in_the_metadata_do_not_count() -> None:
    data = encoded(photograph(), "JPEG")
    thumbnails = b"\xff\xe1" + struct.pack(">H", 2 + 600) + b"\xff\xda" * 300
    assert decode(data[:2] + thumbnails + data[2:]).size == photograph().size
