"""multipart/form-data, taken apart by searching for its boundary (RFC 7578).

python-multipart's own parser stops at every carriage return, where a boundary might begin: a body
full of them, which an image without compression may be, took it a second a megabyte.
"""

from typing import NamedTuple

from python_multipart.multipart import parse_options_header

START = b"\r\n"  # goes before a body, so that there is a line break before every boundary
_BOUNDARY = 70  # bytes, RFC 2046
_HEADER = 8 * 1024  # bytes of one part's header


class FormFile(NamedTuple):
    """A part of a form that has a file's name, perhaps an empty one."""

    name: str
    data: bytes


class TooManyPartsError(ValueError):
    """A form with more parts than are allowed."""


def files(content_type: str, body: bytearray, most: int) -> list[FormFile]:
    """The files of a form; its other fields are left out.

    Args:
        content_type: of the request; it has the boundary.
        body: of the request, behind START.
        most: parts that are allowed.

    Raises:
        TooManyPartsError: it has more parts.
        ValueError: it is not what it says.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= _BOUNDARY:
        raise ValueError("no boundary")
    delimiter = START + b"--" + boundary
    found: list[FormFile | None] = []
    place = body.find(delimiter)
    for _ in range(most + 1):
        start = place + len(delimiter)
        if place < 0:
            raise ValueError("no end")
        if body.startswith(b"--", start):
            return [file for file in found if file]
        place = body.find(delimiter, start)
        found.append(_file(memoryview(body)[start : max(start, place)]))
    raise TooManyPartsError


def _file(part: memoryview) -> FormFile | None:
    head, blank, _ = bytes(part[:_HEADER]).partition(b"\r\n\r\n")
    rest, *lines = head.split(b"\r\n")
    if not blank or rest.strip():
        raise ValueError("no header")
    for name, _, value in (line.partition(b":") for line in lines):
        if name.strip().lower() == b"content-disposition":
            given = parse_options_header(value)[1].get(b"filename")
            data = bytes(part[len(head) + len(blank) :])
            return None if given is None else FormFile(_text(given), data)
    raise ValueError("no name")


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
