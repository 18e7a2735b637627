"""JPEG files that have lost their end: is every pixel still there?

A decoder that is cut short says only that the file ends too early. Two things together tell a file
without its end marker from one without its last rows: its scans hold all the coefficients, and
what is put after its last byte changes no pixel.

Format: ITU-T T.81, https://www.w3.org/Graphics/JPEG/itu-t81.pdf
"""

import re
from collections.abc import Iterator
from itertools import islice

START = b"\xff\xd8\xff"
_END = b"\xff\xd9"
# A marker that is no part of compressed data, where FF 00 stands for FF and restarts occur.
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_WITHOUT_LENGTH = (0x01, 0xD8)
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_SCAN = 0xDA
_IMAGE_END = 0xD9
# A decoder that still waits for data takes these for it: bits that begin in every way.
_FILLERS = [bytes((first + 71 * n) % 255 for n in range(16)) for first in (0, 90, 165, 254)]
_BLANK = bytes(64)  # no compressed data end with so many


def trimmed(data: bytes) -> bytes:
    """The file without the zeros that a broken copy leaves behind it, which would pass for data."""
    if data.startswith(START) and data.endswith(_BLANK):
        return data.rstrip(b"\0")
    return data


def endings(data: bytes) -> list[bytes]:
    """The file with one thing or another after its last byte, and then the end marker.

    It lacks no pixel if all of them are one image. None are returned where coefficients are
    missing for sure, as in a progressive file that was cut between two scans.
    """
    if data.endswith(b"\xff"):  # half of a marker
        data = data[:-1]
    start = _last_scan(data)
    if start is None:
        return []
    due = 0
    for restart in _RESTART.finditer(data, start):
        due = (restart[1][0] + 1) % 8
    marker = bytes((0xFF, 0xD0 + due))
    fillers = [b"", *_FILLERS, *(marker + filler for filler in _FILLERS)]
    return [data + filler + _END for filler in fillers]


def has_more_scans(data: bytes, most: int) -> bool:
    """Whether the image has more than ``most`` scans; thumbnails in its metadata do not count."""
    if data.count(bytes((0xFF, _SCAN))) <= most:  # hundreds of times faster
        return False
    scans = (kind for kind, _, _ in _segments(data) if kind == _SCAN)
    return next(islice(scans, most, None), None) is not None


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """The marker segments of the image: kind, content, and where it ends."""
    at = len(START) - 1
    while found := _MARKER.search(data, at):
        kind, at = found[1][0], found.end()
        if kind == _IMAGE_END:
            return
        if kind in _WITHOUT_LENGTH:
            continue
        segment = data[at + 2 : at + int.from_bytes(data[at : at + 2])]
        at += 2 + len(segment)
        yield kind, segment, at


def _last_scan(data: bytes) -> int | None:
    """Where the data of the last scan begin, if all scans together hold every coefficient."""
    missing: dict[int, list[int]] = {}  # by component: bits that each of 64 coefficients lacks
    start = 0
    try:
        for kind, segment, end in _segments(data):
            if kind in _FRAMES:
                missing = {segment[6 + 3 * n]: [1] * 64 for n in range(segment[5])}
            elif kind == _SCAN:
                start, count = end, segment[0]
                first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
                for component in segment[1 : 1 + 2 * count : 2]:
                    missing[component][first : last + 1] = [bits & 15] * (last + 1 - first)
    except (IndexError, KeyError, ValueError):  # cut in the middle of a segment
        return None
    return start if missing and not any(map(any, missing.values())) else None
