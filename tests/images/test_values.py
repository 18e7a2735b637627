"""Values beyond 8 bits: read as they are stored, brought to 8 by one range for the whole set."""

import io

import numpy as np
import pytest
from PIL import Image

from classifier.core.types import AnyArray
from classifier.images.decode import decode, inspect
from classifier.images.hashing import content_hash, is_blank
from classifier.images.values import Values, value_ranges
from tests.support.image_files import chunk, deep, encoded, photograph, png16, tiff

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 4096, (5, 7)).astype(np.uint16)
COLOR = RANDOM.integers(0, 4096, (5, 7, 3)).astype(np.uint16)
SIGNED = RANDOM.integers(-1024, 3072, (5, 7))
LONG = RANDOM.integers(0, 2**32, (5, 7)).astype(np.uint32)
FLOATS = RANDOM.normal(size=(5, 7)).astype(np.float32)


def ppm(array: AnyArray, most: int) -> bytes:
    height, width, _ = array.shape
    return b"P6 %d %d %d\n" % (width, height, most) + array.astype(">u2").tobytes()


@pytest.mark.parametrize(
    ("data", "mode", "expected"),
    [
        (png16(GRAY), "I;16", GRAY),
        (png16(COLOR), "RGB;16", COLOR),
        (tiff(GRAY), "I;16", GRAY),
        (tiff(GRAY, order=">"), "I;16B", GRAY),
        # libtiff decodes these, and hands over the machine's own order of bytes.
        (tiff(GRAY, deflated=True), "I;16", GRAY),
        (tiff(GRAY, deflated=True, order=">"), "I;16B", GRAY),
        (tiff(COLOR, deflated=True), "RGB;16", COLOR),
        (tiff(COLOR, deflated=True, order=">"), "RGB;16", COLOR),
        (tiff(COLOR), "RGB;16", COLOR),
        (tiff(COLOR, order=">"), "RGB;16", COLOR),
        (tiff(np.dstack([COLOR, GRAY]), extra=0), "RGB;16", COLOR),
        (tiff(SIGNED.astype(np.int16)), "I", SIGNED),
        (tiff(SIGNED.astype(np.int16), order=">"), "I", SIGNED),
        (tiff(SIGNED.astype(np.int32)), "I", SIGNED),
        (tiff(LONG), "I", LONG),
        (tiff(FLOATS), "F", FLOATS),
        (tiff(FLOATS, order=">"), "F", FLOATS),
        (ppm(COLOR, 65535), "RGB;16", COLOR),
        (b"P5 7 5 65535\n" + GRAY.astype(">u2").tobytes(), "I", GRAY),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_are_read_as_they_are_stored(data: bytes, mode: str, expected: AnyArray) -> None:
    found = inspect(data)
    assert found.mode == mode
    assert isinstance(found.pixels, Values)
    assert found.pixels.size == (7, 5)
    assert np.array_equal(found.pixels.array, expected)


def test_a_value_that_stands_for_white_is_white_whatever_the_depth() -> None:
    inverted = tiff(GRAY, photometric=0)  # as X-ray images often are
    assert np.array_equal(deep(inverted).array, 65535 - GRAY)
    eight = (GRAY >> 4).astype(np.uint8)
    assert np.array_equal(np.asarray(decode(tiff(eight, photometric=0))), 255 - eight)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_values_are_turned_as_8_bits_are(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = (b"eXIf", exif.tobytes()[6:])
    eight = np.arange(35, dtype=np.uint8).reshape(5, 7)
    data = encoded(Image.fromarray(eight), exif=exif.tobytes())
    found = deep(png16(eight.astype(np.uint16) * 257, [block]))
    assert np.array_equal(found.array, np.asarray(decode(data)).astype(np.uint16) * 257)


def ranges_of(*arrays: AnyArray) -> dict[str, tuple[float, float]]:
    images = [Values(array) for array in arrays]
    return value_ranges((image.kind, *(image.extent() or ())) for image in images)


def spread(low: int, high: int, images: int = 20) -> list[AnyArray]:
    random = np.random.default_rng(1)
    dtype = np.uint16 if low >= 0 else np.int32
    arrays = [random.integers(low, high + 1, (40, 40)).astype(dtype) for _ in range(images)]
    for array in arrays:
        array[0, 0], array[-1, -1] = low, high
    return arrays


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 229, (0, 255)),  # 8 bits in 16
        (3, 1019, (0, 1023)),
        (0, 4095, (0, 4095)),
        (120, 3900, (0, 4095)),
        (0, 65535, (0, 65535)),
        (5, 40_000, (0, 65535)),
        (0, 1, (0, 1)),  # masks
        (0, 20, (0, 20)),
        (-1024, 3071, (-1024, 3071)),  # computed tomography
        (28_000, 31_000, (28_000, 31_000)),  # a thermal camera, in hundredths of a kelvin
    ],
)
def test_whole_numbers_take_the_bits_that_they_use(
    low: int, high: int, expected: tuple[int, int]
) -> None:
    assert ranges_of(*spread(low, high)) == {"integer": expected}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 1.0, (0, 1)), (0.2, 0.7, (0, 1)), (0.4, 0.5, (0.4, 0.5)), (-3.5, 8.25, (-3.5, 8.25))],
)
def test_floats_take_0_to_1_or_what_they_use(
    low: float, high: float, expected: tuple[float, float]
) -> None:
    arrays = [np.linspace(low, high, 100, dtype=np.float32).reshape(10, 10)] * 3
    found = ranges_of(*arrays)["float"]
    assert found == pytest.approx(expected, rel=1e-6)


def test_each_kind_of_values_has_its_own_range() -> None:
    floats = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    assert ranges_of(floats, *spread(0, 4000)) == {"integer": (0, 4095), "float": (0, 1)}
    assert ranges_of() == {}


def test_one_hot_pixel_and_one_strange_image_cost_a_bit_at_most() -> None:
    arrays = spread(0, 4000, images=60)
    for array in arrays[:40]:
        array[7, 7] = 65535  # the camera's own
    assert ranges_of(*arrays)["integer"] == (0, 8191)
    strange = spread(30_000, 65_535, images=1)
    assert ranges_of(*spread(0, 4000, images=60), *strange)["integer"] == (0, 8191)


def test_a_small_drawing_on_an_even_ground_is_no_outlier() -> None:
    array = np.zeros((200, 200), np.uint16)
    array[50, 50] = 3000
    assert ranges_of(array, array)["integer"] == (0, 4095)


def test_unseen_pixels_do_not_count() -> None:
    array = np.full((20, 20), 60_000, np.uint16)
    array[:10] = np.arange(200).reshape(10, 20)
    alpha = np.zeros((20, 20), np.uint8)
    alpha[:10] = 255
    assert Values(array, alpha).extent() == (0, 199)


@pytest.mark.parametrize(
    ("array", "range_", "expected"),
    [
        (np.arange(256), (0, 255), np.arange(256)),
        (np.arange(256) * 257, (0, 65535), np.arange(256)),
        (np.arange(65536), (0, 65535), np.arange(65536) >> 8),  # the high byte, as ever
        (np.arange(4096), (0, 4095), np.arange(4096) >> 4),
        (np.array([-2000, -1000, 3095, 9000]), (-1000, 3095), np.array([0, 0, 255, 255])),
        (np.array([0, 1]), (0, 1), np.array([0, 128])),
    ],
)
def test_whole_numbers_fall_into_bins_of_one_width(
    array: AnyArray, range_: tuple[int, int], expected: AnyArray
) -> None:
    dtype = np.int32 if array.min() < 0 else np.uint16
    image = Values(array.astype(dtype)[None]).image({"integer": range_})
    assert np.array_equal(np.asarray(image)[0], expected)


def test_floats_are_rounded_to_the_nearest_level() -> None:
    values = np.array([[-1.0, 0.0, 0.001, 0.499, 1.0, 3.0]], np.float32)
    within = Values(values[:, 1:5])
    assert np.asarray(within.image({})).tolist() == [[0, 0, 127, 255]]
    wide = Values(values).image({"float": (-1.0, 3.0)})
    assert np.asarray(wide).tolist() == [[0, 64, 64, 96, 128, 255]]


@pytest.mark.parametrize("make", [png16, tiff])
def test_full_color_of_16_bits_keeps_its_high_byte(make: object) -> None:
    array = RANDOM.integers(0, 65536, (9, 8, 3)).astype(np.uint16)
    data = make(array)  # type: ignore[operator]
    for ranges in ({}, {"integer": (0, 65535)}):
        assert np.array_equal(np.asarray(decode(data, ranges)), array >> 8)


@pytest.mark.parametrize("array", [GRAY, COLOR], ids=["gray", "color"])
def test_low_bits_are_not_lost(array: AnyArray) -> None:
    image = np.asarray(decode(png16(array), {"integer": (0, 4095)}))
    assert np.array_equal(image, array >> 4)
    # Without a range nobody can tell a dark photograph from one of 12 bits.
    with pytest.raises(ValueError, match="low bits"):
        decode(png16(array))
    assert np.asarray(decode(png16(np.zeros_like(array)))).max() == 0


def test_values_outside_of_every_range_are_refused() -> None:
    for array in (np.full((3, 3), 70_000, np.int32), np.full((3, 3), -5, np.int16)):
        with pytest.raises(ValueError, match="16-bit"):
            decode(tiff(array))
    with pytest.raises(ValueError, match="0\\.\\.1"):
        decode(tiff(np.full((3, 3), 700.0, np.float32)))
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="no numbers"):
            inspect(tiff(np.full((3, 3), value, np.float32)))


def test_an_orientation_behind_the_pixels_of_16_bits_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png16(np.dstack([COLOR, np.full_like(GRAY, 65535)]))
    end = data.rindex(b"IEND") - 4
    turned = data[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + data[end:]
    assert deep(turned).size == deep(data).size[::-1]


@pytest.mark.parametrize("deflated", [False, True])
def test_channels_that_lie_apart_are_refused(deflated: bool) -> None:
    apart = tiff(COLOR, deflated=deflated, apart=True)
    with pytest.raises(ValueError, match="keeps its channels apart: convert it to 16-bit PNG"):
        inspect(apart)
    eight = (COLOR >> 4).astype(np.uint8)
    found = decode(tiff(eight, deflated=deflated, apart=True))
    assert np.array_equal(np.asarray(found), eight)


def test_content_counts_every_bit_and_no_container() -> None:
    other = GRAY.copy()
    other[0, 0] += 1
    hashes = [
        content_hash(inspect(data).pixels)
        for data in (png16(GRAY), tiff(GRAY, order=">"), tiff(GRAY.astype(np.int32)),
                     png16(np.dstack([GRAY] * 3)), png16(other), png16(COLOR))
    ]  # fmt: skip
    assert len(set(hashes[:4])) == 1
    assert len(set(hashes)) == 3
    eight = photograph()
    wide = np.asarray(eight).astype(np.uint16) * 257
    assert content_hash(inspect(png16(wide)).pixels) == content_hash(eight)


def test_the_preview_shows_what_there_is_to_see() -> None:
    found = inspect(png16(GRAY))
    low, high = found.preview.getextrema()
    assert (low, high) == (0, 255)
    assert not is_blank(found.preview)
    assert is_blank(inspect(png16(np.full_like(GRAY, 7))).preview)
    assert is_blank(Image.new("RGB", (3, 3), (1, 2, 3)))
    assert not is_blank(Image.open(io.BytesIO(encoded(photograph()))))
