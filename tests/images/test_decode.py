"""One set of rules turns any file into gray or color pixels, or says why it cannot."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from classifier.core.resize import Resize, to_array
from classifier.images.decode import decode, inspect
from classifier.images.hashing import content_hash, hash_hex, perceptual_hash
from classifier.images.limits import MAX_PIXELS
from tests.support.image_files import WAYS, chunk, encoded, photograph


@pytest.mark.parametrize(
    ("mode", "kind", "expected"),
    [
        ("1", "PNG", "L"), ("L", "PNG", "L"), ("L", "JPEG", "L"), ("P", "GIF", "RGB"),
        ("P", "PNG", "RGB"), ("RGB", "JPEG", "RGB"), ("RGB", "WEBP", "RGB"), ("RGB", "BMP", "RGB"),
        ("CMYK", "JPEG", "RGB"), ("CMYK", "TIFF", "RGB"), ("LA", "PNG", "L"),
        ("RGBA", "PNG", "RGB"), ("YCbCr", "TIFF", "RGB"), ("I;16", "PNG", "L"), ("F", "TIFF", "L"),
    ],
)  # fmt: skip
def test_every_mode_ends_as_gray_or_color(mode: str, kind: str, expected: str) -> None:
    if mode == "I;16":
        stored = Image.fromarray(np.full((6, 5), 0x80FF, np.uint16))
    elif mode == "F":
        stored = Image.fromarray(np.full((6, 5), 0.5, np.float32))
    else:
        stored = Image.new("RGB", (5, 6), (128, 128, 128)).convert(mode)
    if mode == "P":
        stored.putpalette([128, 128, 129] * 256)
    image = decode(encoded(stored, kind))
    assert (image.mode, image.size) == (expected, (5, 6))
    if mode != "1":
        assert np.abs(np.asarray(image).astype(int) - 128).max() <= 2


def test_the_mode_found_is_told() -> None:
    assert inspect(encoded(Image.new("CMYK", (4, 4)), "JPEG")).mode == "CMYK"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    from PIL import ImageOps

    stored = Image.new("RGB", (32, 16), "black")
    stored.paste((255, 255, 255), (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, exif=exif.tobytes())
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    found = np.asarray(decode(data))
    assert found.shape == expected.shape == ((32, 16, 3) if orientation > 4 else (16, 32, 3))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_file_cut_off_is_refused(kind: str) -> None:
    data = encoded(photograph(size=(256, 256)), kind)
    with pytest.raises(ValueError, match=r"cut off|known format"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"hello, this is no image", "known format"), (b"%!PS-Adobe", "known")],
)
def test_what_is_no_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(data)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_image_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert side * side > MAX_PIXELS
    with pytest.raises(ValueError, match="pixels"):
        decode(bomb)


@pytest.mark.parametrize("resize", WAYS, ids=str)
@pytest.mark.parametrize("size", [8, 32, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_have_the_shape_asked_for(resize: Resize, size: int, channels: int) -> None:
    for mode in ("L", "RGB"):
        for shape in ((64, 48), (48, 64), (1, 90)):
            array = to_array(Image.new(mode, shape, "white"), size, channels, resize)
            assert array.shape == (size, size, channels)
            assert array.dtype == np.uint8


def test_the_right_size_is_left_alone() -> None:
    image = photograph(size=(32, 32))
    for resize in WAYS:
        if resize.crop_fraction == 1:
            assert np.array_equal(to_array(image, 32, 3, resize), np.asarray(image))


def test_crop_keeps_the_center_and_pad_keeps_all() -> None:
    image = Image.new("L", (90, 30), 0)
    image.paste(200, (30, 0, 60, 30))
    assert to_array(image, 30, 1, Resize("crop")).min() == 200
    padded = to_array(image, 30, 1, Resize("pad"))[..., 0]
    assert padded[:10].max() == padded[20:].max() == 0
    assert padded[15, 15] == 200


def test_equal_pixels_have_equal_hashes_in_any_format() -> None:
    image = photograph()
    hashes = {content_hash(decode(encoded(image, kind))) for kind in ("PNG", "BMP", "TIFF")}
    assert len(hashes) == 1
    gray = image.convert("L")
    assert content_hash(gray) == content_hash(gray.convert("RGB"))
    assert content_hash(gray) != content_hash(image)
    assert content_hash(Image.new("L", (2, 8))) != content_hash(Image.new("L", (4, 4)))


def test_look_alikes_are_near_and_strangers_are_far() -> None:
    image = photograph(1, (200, 150))
    near = [
        decode(encoded(image, "JPEG", quality=40)),
        image.resize((90, 70)),
        image.point(lambda value: min(255, int(value * 1.05))),
    ]
    base = perceptual_hash(image)
    assert max((base ^ perceptual_hash(other)).bit_count() for other in near) <= 6
    far = [(base ^ perceptual_hash(photograph(seed))).bit_count() for seed in range(2, 12)]
    assert min(far) >= 14
    assert len(hash_hex(base)) == 16
    assert int(hash_hex(base), 16) == base
