"""Pixels decide: what a file says besides them turns the image and is no reason against it."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from classifier.images.decode import decode
from tests.support.image_files import chunk, encoded, photograph

IMAGE = photograph(size=(48, 40))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
KINDS = ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"]


def exif(orientation: int | None = None) -> bytes:
    block = Image.Exif()
    block[0x010F], block[0x011A] = "a maker", 72.0
    block[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x927C: b"notes of the maker" * 9}
    block[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    if orientation is not None:
        block[0x0112] = orientation
    return block.tobytes()


def xmp(orientation: int, as_element: bool = False) -> bytes:
    inside = (
        f"><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>"
        if as_element
        else f' tiff:Orientation="{orientation}"/>'
    )
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
        f"{inside}</rdf:RDF></x:xmpmeta>"
    ).encode()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data))


@pytest.mark.parametrize(
    "block", [b"no tiff here", b"\0\0\x11\0\0\x01\x04\0", b"II*\0\xff\xff\xff"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_broken_exif_is_passed_over(kind: str, block: bytes) -> None:
    try:
        data = encoded(IMAGE, kind, exif=b"Exif\0\0" + block)
    except (ValueError, SyntaxError, struct.error):  # Pillow does not write it
        data = encoded(IMAGE, kind, exif=exif()).replace(exif()[6:], block.ljust(len(exif()) - 6))
    assert np.array_equal(pixels(data), pixels(encoded(IMAGE, kind)))


def with_metadata(kind: str) -> bytes:
    info = PngInfo()
    info.add_text("Comment", "hello " * 20)
    info.add_text("Zipped", "hello " * 50, zip=True)
    info.add_itxt("XML:com.adobe.xmp", xmp(1).decode(), zip=True)
    tags = ImageFileDirectory_v2()
    tags[270], tags[305], tags[33723] = "a description " * 5, "a program", b"iptc" * 20
    options: dict[str, object] = {
        "PNG": {"pnginfo": info, "dpi": (72, 72)},
        "TIFF": {"tiffinfo": tags},
        "MPO": {"save_all": True, "append_images": [IMAGE]},
    }.get(kind, {"xmp": xmp(1)})
    return encoded(IMAGE, kind, exif=exif(), icc_profile=PROFILE, **options)


def spans(kind: str, data: bytes) -> list[tuple[int, int]]:
    """Where metadata lie: start and end of each piece."""
    found, at = [], 0
    if kind in ("JPEG", "MPO"):
        at = 2
        while data[at + 1] != 0xDA:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
            if 0xE0 <= data[at + 1] <= 0xED:
                found.append((at + 4, end))
            at = end
        return found
    if kind == "PNG":
        at = 8
        while at < len(data):
            size = int.from_bytes(data[at : at + 4])
            if data[at + 4] & 32:
                found.append((at + 8, at + 8 + size))
            at += 12 + size
        return found
    if kind == "WEBP":
        at = 12
        while at < len(data):
            name, size = struct.unpack_from("<4sI", data, at)
            if name in (b"EXIF", b"XMP ", b"ICCP"):
                found.append((at + 8, at + 8 + size))
            at += 8 + size + size % 2
        return found
    pieces = [exif()[6:], PROFILE, xmp(1), b"a description " * 5, b"iptc" * 20]
    return [(data.index(p), data.index(p) + len(p)) for p in pieces if p in data]


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_to_metadata_costs_the_image(kind: str) -> None:
    data = with_metadata(kind)
    expected, places = pixels(data), spans(kind, data)
    assert len(places) >= 2
    chance = random.Random(0)
    for _ in range(60):
        start, end = chance.choice(places)
        damaged = bytearray(data)
        if chance.random() < 0.3:
            damaged[start:end] = chance.randbytes(end - start)
        for _ in range(chance.choice((1, 4, 16))):
            damaged[chance.randrange(start, end)] = chance.choice((0, 127, 255))
        if kind == "PNG" and chance.random() < 0.5:
            damaged[end : end + 4] = struct.pack(">I", zlib.crc32(damaged[start - 4 : end]))
        found = pixels(bytes(damaged))
        # By chance the damage may say that the image lies on its side.
        assert np.array_equal(np.sort(found, axis=None), np.sort(expected, axis=None))


def test_the_size_of_metadata_does_not_matter() -> None:
    text, itxt = PngInfo(), PngInfo()
    text.add_text("prompt", "word " * 400_000, zip=True)
    itxt.add_itxt("prompt", "word " * 400_000, zip=True)
    many = PngInfo()
    for number in range(80):
        many.add_text(f"k{number}", "x" * 1_000_000, zip=True)
    options: list[dict[str, object]] = [
        {"pnginfo": text}, {"pnginfo": itxt}, {"pnginfo": many}, {"icc_profile": bytes(2_000_000)},
        {"pnginfo": text, "exif": exif(1)},
    ]  # fmt: skip
    for option in options:
        assert np.array_equal(pixels(encoded(IMAGE, "PNG", **option)), np.asarray(IMAGE))
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50 << 20), 9))
    data = encoded(IMAGE, "PNG")
    assert np.array_equal(pixels(data[:33] + bomb + data[33:]), np.asarray(IMAGE))


def test_metadata_behind_the_pixels_may_be_cut_off() -> None:
    webp = with_metadata("WEBP")
    assert np.array_equal(pixels(webp[:-30]), pixels(webp))
    png = encoded(IMAGE, "PNG")
    end = chunk(b"IEND", b"")
    assert png.endswith(end)
    late = png[: -len(end)] + chunk(b"tEXt", b"key\0" + b"text" * 50)
    assert np.array_equal(pixels(late[:-70]), np.asarray(IMAGE))


def turned(orientation: int) -> np.ndarray:
    data = encoded(IMAGE, "PNG", exif=exif(orientation))
    from PIL import ImageOps

    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_is_read_from_exif(kind: str, orientation: int) -> None:
    lossless = {"WEBP": {"lossless": True}}.get(kind, {})
    found = pixels(encoded(IMAGE, kind, exif=exif(orientation), **lossless))
    assert np.abs(found.astype(int) - turned(orientation)).mean() < 8


@pytest.mark.parametrize("as_element", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("broken", [False, True], ids=["", "beside broken EXIF"])
def test_the_orientation_is_read_from_xmp(kind: str, as_element: bool, broken: bool) -> None:
    packet = xmp(6, as_element)
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet.decode())
    tags = ImageFileDirectory_v2()
    tags[700] = packet
    options: dict[str, object] = {
        "PNG": {"pnginfo": info}, "TIFF": {"tiffinfo": tags},
        "WEBP": {"xmp": packet, "lossless": True},
    }.get(kind, {"xmp": packet})  # fmt: skip
    if broken and kind != "TIFF":
        options["exif"] = b"Exif\0\0no tiff here"
    found = pixels(encoded(IMAGE, kind, **options))
    assert np.abs(found.astype(int) - turned(6)).mean() < 8


def test_exif_comes_before_xmp_and_both_survive_large_texts() -> None:
    info = PngInfo()
    info.add_text("prompt", "word " * 400_000, zip=True)
    assert np.array_equal(pixels(encoded(IMAGE, "PNG", pnginfo=info, exif=exif(3))), turned(3))
    info.add_itxt("XML:com.adobe.xmp", xmp(6).decode(), zip=True)
    assert np.array_equal(pixels(encoded(IMAGE, "PNG", pnginfo=info)), turned(6))
    assert np.array_equal(pixels(encoded(IMAGE, "PNG", pnginfo=info, exif=exif(3))), turned(3))


def test_exif_that_older_programs_put_into_a_text_is_read() -> None:
    block = exif(6)
    info = PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    assert np.array_equal(pixels(encoded(IMAGE, "PNG", pnginfo=info)), turned(6))


@pytest.mark.parametrize("value", [0, 9, 999])
def test_an_orientation_that_makes_no_sense_is_none(value: object) -> None:
    block = Image.Exif()
    block[0x0112] = value
    assert np.array_equal(pixels(encoded(IMAGE, "PNG", exif=block.tobytes())), np.asarray(IMAGE))


OPTIONS: dict[str, dict[str, object]] = {
    "baseline": {}, "progressive": {"progressive": True}, "optimized": {"optimize": True},
    "restarts": {"restart_marker_blocks": 2}, "restarting rows": {"restart_marker_rows": 1},
    "both": {"progressive": True, "restart_marker_blocks": 3}, "finely": {"subsampling": 0},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_with_all_its_pixels_needs_no_end(mode: str, options: dict[str, object]) -> None:
    data = encoded(photograph(3, (50, 37)).convert(mode), "JPEG", exif=exif(6), **options)
    whole = pixels(data)
    assert whole.shape[:2] == (50, 37)
    for end in (data[:-2], data[:-1], data[:-2] + bytes(5000)):
        assert np.array_equal(pixels(end), whole)
    # At every other place the image is either whole or refused.
    accepted = 0  # some bits of the last bytes say nothing
    for cut in range(len(exif()), len(data) - 2, 5):
        for rest in (b"", bytes(700)):
            try:
                found = pixels(data[:cut] + rest)
            except ValueError:
                continue
            accepted += 1
            assert np.array_equal(found, whole), f"{cut} of {len(data)}"
    assert accepted < len(data) / 50


def test_a_progressive_jpeg_that_lacks_a_whole_scan_is_refused() -> None:
    data = encoded(IMAGE, "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    for end in (scan, data.rindex(b"\xff\xc4", 0, scan)):
        with pytest.raises(ValueError, match="cut off"):
            decode(data[:end])


def test_other_formats_that_are_cut_off_stay_refused() -> None:
    for kind in ("WEBP", "JPEG2000", "AVIF"):
        data = encoded(IMAGE, kind)
        for cut in range(12, len(data) - 1, 7):
            with pytest.raises(ValueError, match=r"cut off|known format"):
                decode(data[:cut])


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf", "Pillow 11.3"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"8BPS\0\1", "Photoshop"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "TIFF"),
    ],
)
def test_what_cannot_be_read_is_named(start: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(start + bytes(100))
