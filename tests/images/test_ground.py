"""Transparent pixels get a ground that keeps the drawing, however the file says transparent."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from classifier.images.decode import decode
from classifier.images.hashing import is_blank
from tests.support.image_files import encoded

Maker = Callable[[int], bytes]


def drawing(level: int, mode: str = "RGBA") -> Image.Image:
    """A disc of one gray level, its edge half transparent, on nothing."""
    y, x = np.mgrid[:24, :24]
    distance = np.hypot(y - 12, x - 12)
    image = np.zeros((24, 24, 4), np.uint8)
    image[distance < 9] = (level, level, level, 128)
    image[distance < 8] = (level, level, level, 255)
    return Image.fromarray(image).convert(mode)


def keyed(level: int, mode: str) -> bytes:
    """A disc in an image of one channel, in which one value stands for transparent."""
    disc = np.asarray(drawing(255).getchannel("A")) == 255
    ground = 255 - level
    if mode == "1":
        image = Image.fromarray(np.where(disc, level, ground).astype(np.uint8)).convert("1")
        return encoded(image, "PNG", transparency=ground)
    if mode == "L":
        gray = np.where(disc, level, 77).astype(np.uint8)
        return encoded(Image.fromarray(gray), "PNG", transparency=77)
    if mode == "RGB":
        color = np.where(disc[..., None], level, (9, 8, 7)).astype(np.uint8)
        return encoded(Image.fromarray(color), "PNG", transparency=(9, 8, 7))
    image = Image.fromarray(disc.astype(np.uint8))
    image.putpalette([9, 8, 7, level, level, level])
    return encoded(image, "GIF" if mode == "GIF" else "PNG", transparency=0)


MAKERS: dict[str, Maker] = {
    "RGBA": lambda level: encoded(drawing(level)),
    "LA": lambda level: encoded(drawing(level, "LA")),
    "WebP": lambda level: encoded(drawing(level), "WEBP", lossless=True, exact=True),
    "TIFF": lambda level: encoded(drawing(level), "TIFF"),
    "TGA": lambda level: encoded(drawing(level), "TGA"),
    "gray key": lambda level: keyed(level, "L"),
    "color key": lambda level: keyed(level, "RGB"),
    "two levels": lambda level: keyed(level, "1"),
    "palette": lambda level: keyed(level, "P"),
    "GIF": lambda level: keyed(level, "GIF"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize("level", [0, 255])
def test_white_and_black_drawings_stay_visible(make: Maker, level: int) -> None:
    image = np.asarray(decode(make(level)).convert("L")).astype(int)
    assert image[12, 12] == level
    assert image[0, 0] == 255 - level


@pytest.mark.parametrize("level", [0, 60, 128, 200, 225])
def test_the_ground_is_white_where_the_drawing_shows_on_it(level: int) -> None:
    image = np.asarray(decode(encoded(drawing(level))))
    assert image[0, 0].tolist() == [255, 255, 255]
    edge = np.asarray(drawing(level))[..., 3] == 128
    assert np.abs(image[edge].astype(int) - (level + 255) / 2).max() <= 1


def test_what_is_not_transparent_is_left_alone() -> None:
    white = Image.new("RGBA", (4, 4), (255, 255, 255, 255))
    assert np.asarray(decode(encoded(white))).min() == 255
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert np.asarray(decode(encoded(half)))[0, 0].tolist() == [127, 127, 127]


def test_nothing_visible_is_a_blank_image() -> None:
    clear = decode(encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0))))
    assert np.asarray(clear).min() == 255
    assert is_blank(clear)


def bmp(image: Image.Image, alpha: int) -> bytes:
    """BMP of 32 bits a pixel that declares an alpha channel."""
    width, height = image.size
    array = np.dstack([np.asarray(image)[::-1, :, ::-1], np.full((height, width), alpha, np.uint8)])
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, array.nbytes, 0, 0, 0, 0)
    header += masks + bytes(108 - 40 - 16)
    start = 14 + len(header)
    return (
        struct.pack("<2sIHHI", b"BM", start + array.nbytes, 0, 0, start) + header + array.tobytes()
    )


@pytest.mark.parametrize("alpha", [0, 255])
@pytest.mark.parametrize("kind", ["BMP", "TGA"])
def test_an_alpha_channel_that_nobody_filled_hides_nothing(kind: str, alpha: int) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8))
    with_alpha = image.copy()
    with_alpha.putalpha(alpha)
    data = bmp(image, alpha) if kind == "BMP" else encoded(with_alpha, "TGA")
    assert np.array_equal(np.asarray(decode(data)), np.asarray(image))
