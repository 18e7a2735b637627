"""Alpha in images of more than 8 bits: what is hidden neither counts nor shows."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from classifier.core.types import AnyArray
from classifier.images.decode import decode, inspect
from classifier.images.hashing import content_hash, is_blank
from classifier.images.values import Values
from tests.support.image_files import deep, png16, tiff

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 4096, (5, 7)).astype(np.uint16)
COLOR = RANDOM.integers(0, 4096, (5, 7, 3)).astype(np.uint16)


def test_transparency_beyond_8_bits() -> None:
    opaque = np.zeros((5, 7), np.uint16)
    opaque[2] = 65535
    drawing = {"integer": (0, 4095)}
    for data in (png16(np.dstack([COLOR, opaque])), tiff(np.dstack([COLOR, opaque]), extra=2)):
        image = np.asarray(decode(data, drawing))
        assert np.array_equal(image[2], COLOR[2] >> 4)
        assert image[[0, 1, 3, 4]].min() == 255
    image = np.asarray(decode(png16(np.dstack([GRAY, opaque >> 4])), drawing))
    assert image.shape == (5, 7)
    assert np.array_equal(image[2], GRAY[2] >> 4)
    assert image[0].min() == 255
    for array in (GRAY, COLOR):  # one value stands for transparent
        key = array[:1, :1].astype(">u2").tobytes()
        image = np.asarray(decode(png16(array, [(b"tRNS", key)]), drawing))
        assert image[0, 0].min() == 255
        assert np.array_equal(image[1:], array[1:] >> 4)


def hiding(array: AnyArray, hidden: int, alpha: int = 65535) -> tuple[AnyArray, AnyArray]:
    """The image with another value where it is transparent, which its first row is, and alpha."""
    values, opaque = array.copy(), np.full(array.shape[:2], alpha, np.uint16)
    values[0], opaque[0] = hidden, 0
    return values, opaque


def keyed(array: AnyArray, hidden: int) -> bytes:
    values, _ = hiding(array, hidden)
    channels = array.shape[2] if array.ndim == 3 else 1
    return png16(values, [(b"tRNS", np.full(channels, hidden, ">u2").tobytes())])


HIDING: dict[str, Callable[[AnyArray, int], bytes]] = {
    "PNG": lambda array, hidden: png16(np.dstack(hiding(array, hidden))),
    "PNG, alpha of 12 bits": lambda array, hidden: png16(np.dstack(hiding(array, hidden, 4095))),
    "PNG, alpha of 1 bit": lambda array, hidden: png16(np.dstack(hiding(array, hidden, 1))),
    "TIFF": lambda array, hidden: tiff(np.dstack(hiding(array, hidden)), extra=2),
    "TIFF, big-endian": lambda array, hidden: tiff(
        np.dstack(hiding(array, hidden)), extra=2, order=">"
    ),
    "TIFF, premultiplied": lambda array, hidden: tiff(np.dstack(hiding(array, hidden)), extra=1),
    "TIFF, premultiplied and deflated": lambda array, hidden: tiff(
        np.dstack(hiding(array, hidden)), extra=1, deflated=True
    ),
    "one value": keyed,
}


@pytest.mark.parametrize("hidden", [0, 5000, 65535])
@pytest.mark.parametrize(
    ("kind", "array"),
    # Pillow reads no TIFF file of 16-bit gray with alpha.
    [*((kind, COLOR) for kind in HIDING), *((kind, GRAY) for kind in HIDING if "TIFF" not in kind)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_transparent_parts_do_not_make_a_dark_image_bright(
    kind: str, array: AnyArray, hidden: int
) -> None:
    array = array.clip(1)  # 0 stands for transparent in one of the files
    data = HIDING[kind](array, hidden)
    seen = array[1:]
    assert deep(data).extent() == (seen.min(), seen.max())
    image = np.asarray(decode(data, {"integer": (0, 4095)}))
    assert np.array_equal(image[1:], seen >> 4)
    assert image[0].min() == 255
    with pytest.raises(ValueError, match="low bits"):
        decode(data)
    # Nor do they count as content.
    assert content_hash(deep(data)) == content_hash(deep(HIDING[kind](array, 9999)))


def test_values_that_fade_out_do_not_make_the_rest_dark() -> None:
    values, alpha = hiding(COLOR, 65535)  # as made up by a program that scaled the drawing
    alpha[0] = np.linspace(0, 33_000, 7)
    data = png16(np.dstack([values, alpha]))
    assert deep(data).extent() == (COLOR[1:].min(), COLOR[1:].max())
    with pytest.raises(ValueError, match="low bits"):
        decode(data)
    # Where nothing is more opaque, they are the drawing.
    alpha[1:] = 0
    assert deep(png16(np.dstack([values, alpha]))).extent() == (65535, 65535)


def test_premultiplied_values_are_divided_with_all_their_bits() -> None:
    alpha = np.linspace(20_000, 65_535, 35).astype(np.uint16).reshape(5, 7)
    stored = (COLOR.astype(np.int64) * alpha[..., None] / 65535).round().astype(np.uint16)
    found = deep(tiff(np.dstack([stored, alpha]), extra=1))
    assert np.abs(found.array.astype(int) - COLOR).max() <= 2
    assert found.alpha is not None
    assert np.abs(found.alpha.astype(int) - alpha / 257).max() <= 1


@pytest.mark.parametrize("hidden", [0, 3000, 65535])
def test_an_image_that_is_transparent_everywhere_shows_nothing(hidden: int) -> None:
    for array in (GRAY, COLOR):
        clear = np.dstack([np.full_like(array, hidden), np.zeros_like(GRAY)])
        found = inspect(png16(clear))
        assert isinstance(found.pixels, Values)
        assert found.pixels.extent() is None
        assert is_blank(found.preview)
        assert content_hash(found.pixels) == content_hash(inspect(png16(clear // 2)).pixels)
        for ranges in ({}, {"integer": (0, 4095)}, {"integer": (0, 65535)}):
            assert np.asarray(decode(png16(clear), ranges)).min() == 255


def test_alpha_takes_little_memory() -> None:
    array = np.full((1000, 1000, 4), 3000, np.uint16)
    array[500:, :, 3] = 0
    data = png16(array)
    tracemalloc.start()
    try:
        found = deep(data)
        read = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        found.extent()
        measured = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # In bytes a pixel; the values themselves take six, and alpha one.
    assert read / 1e6 < 13
    assert measured / 1e6 < 15


def test_high_bytes_that_tell_all_are_not_joined_with_the_low_ones() -> None:
    data = png16(np.full((1000, 1000, 4), 30_000, np.uint16))
    tracemalloc.start()
    try:
        decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / 1e6 < 6  # bytes a pixel, which the values alone would take


@pytest.mark.parametrize("opaque", [255, 4095, 4096, 65535])
@pytest.mark.parametrize("brightest", [4095, 4096, 65535])
def test_high_bytes_give_the_image_of_all_bytes(brightest: int, opaque: int) -> None:
    rng = np.random.default_rng(0)
    colors = rng.integers(0, brightest, (20, 30, 3), endpoint=True, dtype=np.uint16)
    alpha = rng.integers(0, opaque, (20, 30), endpoint=True, dtype=np.uint16)
    alpha[0], colors[0, :, 0] = opaque, brightest
    data = png16(np.dstack([colors, alpha]))
    for ranges in ({}, {"integer": (0, 65535)}):
        if brightest < 4096 and not ranges:
            with pytest.raises(ValueError, match="low bits"):
                decode(data)
        else:
            expected = deep(data).image({"integer": (0, 65535)})
            assert np.array_equal(np.asarray(decode(data, ranges)), np.asarray(expected))


def test_alpha_that_hides_nothing_is_no_content() -> None:
    opaque = np.full_like(GRAY, 65535)
    for array in (GRAY, COLOR):
        with_alpha = inspect(png16(np.dstack([array, opaque]))).pixels
        assert content_hash(with_alpha) == content_hash(inspect(png16(array)).pixels)
