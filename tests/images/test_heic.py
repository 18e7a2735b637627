"""HEIC files, as telephones write them: read with the extra, and named without it."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.images import formats
from classifier.images.decode import decode, inspect
from classifier.images.formats import UnknownFormatError, is_heic
from classifier.images.limits import TooLargeError
from tests.sources.test_download import folder_of, rejected, take
from tests.support.image_files import encoded, photograph

pillow_heif = pytest.importorskip("pillow_heif")
SIZE = (320, 200)


def heic(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=95, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photo() -> bytes:
    return heic(photograph(1, SIZE))


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats.knows_heic.cache_clear()
    yield
    formats.knows_heic.cache_clear()


def test_it_is_an_image_like_any_other(photo: bytes) -> None:
    found = np.asarray(decode(photo), int)
    assert np.abs(found - np.asarray(photograph(1, SIZE))).mean() < 3
    assert inspect(photo).mode == "RGB"
    assert decode(heic(photograph(1, SIZE).convert("L"))).size == SIZE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_upright_once(orientation: int) -> None:
    """Files of telephones state the turn twice: by themselves, which counts, and in EXIF."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    jpeg = encoded(photograph(1, SIZE), "JPEG", quality=95, exif=exif)
    wanted = np.asarray(decode(jpeg), int)
    with Image.open(io.BytesIO(jpeg)) as stored:
        buffer = io.BytesIO()
        formats.knows_heic()
        stored.save(buffer, "HEIF", quality=95, exif=exif.tobytes())
    found = np.asarray(decode(buffer.getvalue()), int)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 4


def test_more_bits_and_transparency() -> None:
    wide = np.asarray(photograph(1, SIZE)).astype(np.uint16) * 4
    data = pillow_heif.from_bytes("RGB;16", SIZE, (wide << 6).tobytes())
    buffer = io.BytesIO()
    data.save(buffer, quality=95)
    found = np.asarray(decode(buffer.getvalue()), int)
    assert np.abs(found - np.asarray(photograph(1, SIZE))).mean() < 3
    clear = photograph(1, SIZE).convert("RGBA")
    clear.putalpha(0)
    assert np.asarray(decode(heic(clear))).min() >= 250, "on white"


def test_the_main_image_of_several_is_the_image() -> None:
    container = pillow_heif.from_pillow(photograph(1, SIZE))
    container.add_from_pillow(photograph(2, (64, 64)))
    buffer = io.BytesIO()
    container.save(buffer, quality=95, primary_index=0)
    assert decode(buffer.getvalue()).size == SIZE


def test_what_is_damaged_or_too_large_is_refused(photo: bytes) -> None:
    for cut in range(16, len(photo) - 1, max(1, len(photo) // 40)):
        with pytest.raises(ValueError, match=r"cut off|known format"):
            decode(photo[:cut])
    with pytest.raises(TooLargeError, match="320×200"):
        decode(photo, most=1000)


def test_avif_is_not_taken_for_it(photo: bytes) -> None:
    assert is_heic(photo)
    avif = encoded(photograph(1, SIZE), "AVIF")
    assert not is_heic(avif)
    assert decode(avif).size == SIZE


@pytest.mark.usefixtures("not_installed")
def test_without_the_extra_the_sentence_names_it(photo: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnknownFormatError, match=r"it is HEIC; run make setup EXTRAS=heic"):
        decode(photo)
    root = folder_of(tmp_path / "in", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    (root / "dog/IMG_1.HEIC").write_bytes(photo)
    assert take(root, tmp_path / "raw", max_rejected=1).rejected == 1
    [reason] = rejected(tmp_path / "raw").values()
    assert "EXTRAS=heic" in reason


def test_a_folder_of_them_is_taken_in(photo: bytes, tmp_path: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "cat/2.png")
    for number in range(2):
        (root / "dog").mkdir(exist_ok=True)
        (root / f"dog/IMG_{number}.HEIC").write_bytes(heic(photograph(number, SIZE)))
    assert take(root, tmp_path / "raw").rejected == 0
