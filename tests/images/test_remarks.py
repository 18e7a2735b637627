"""Pillow's and libtiff's own words: with the name of the file, or not at all."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from classifier.images.decode import decode
from tests.support.image_files import encoded, photograph

# A process of its own, for pytest takes warnings for itself and replaces stderr.
PREDICTED = """
import sys
from classifier.core.resize import Resize
from classifier.images.decode import decode
from classifier.inference.inputs import InputImage
from classifier.inference import predict
class Spec:
    value_range, image_size, channels, resize = {}, 8, 3, Resize()
for name in sys.argv[1:]:
    print(type(predict._decoded(InputImage(name, name), Spec)).__name__)
"""


def with_broken_exif() -> bytes:
    """JPEG whose EXIF block has an entry that points behind its end, and is cut off."""
    entries = struct.pack("<H", 3) + struct.pack("<HHII", 0x010F, 2, 400, 8)
    block = b"Exif\0\0II*\0\x08\0\0\0" + entries
    data = encoded(photograph(), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


def with_broken_strip() -> bytes:
    """TIFF that says its only strip of LZW data is 2 GiB long."""
    entries = [
        (256, 8), (257, 8), (258, 8), (259, 5), (262, 1), (273, 400), (277, 1), (278, 8),
        (279, 2**31),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + table + bytes(1000)


def test_warnings_are_given_to_who_asks(tmp_path: Path) -> None:
    (tmp_path / "exif.jpg").write_bytes(with_broken_exif())
    (tmp_path / "strip.tif").write_bytes(with_broken_strip())
    (tmp_path / "good.png").write_bytes(encoded(Image.new("L", (8, 8))))
    names = ["exif.jpg", "strip.tif", "good.png"]
    done = subprocess.run(
        [sys.executable, "-c", PREDICTED, *(str(tmp_path / name) for name in names)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["ndarray", "str", "ndarray"]
    lines = done.stderr.splitlines()  # libtiff would add one without any name
    assert lines
    start = f"warning: {tmp_path / 'exif.jpg'}: Pillow says: "
    assert [line for line in lines if not line.startswith(start)] == []


def test_a_strip_that_is_cut_off_is_refused() -> None:
    with pytest.raises(ValueError, match="damaged or cut off"):
        decode(with_broken_strip())
