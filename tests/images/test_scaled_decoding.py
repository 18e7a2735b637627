"""Large JPEG files are decoded at a fraction of their size, the same in training and in use."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.core.resize import DECODING_GAP, Resize, to_array
from classifier.images.decode import decode, inspect
from classifier.images.store import read_bytes
from classifier.inference.inputs import InputImage
from classifier.inference.predict import _decoded
from classifier.models.spec import ModelSpec
from classifier.preprocessing.prepare import PreprocessParams, prepare
from classifier.serve.limits import Limits
from classifier.serve.uploads import pixels
from tests.support.image_files import WAYS, encoded, photograph
from tests.support.manifests import packed

LARGE = (1600, 1200)
SIZE = 64


def detailed(size: tuple[int, int] = LARGE) -> Image.Image:
    """Smooth colors, with noise of every scale on top, as photographs have it."""
    image = np.asarray(photograph(1, size), np.int16)
    random = np.random.default_rng(0)
    for cell in (1, 2, 4, 8, 16):
        noise = random.normal(0, 12, (-(-size[1] // cell), -(-size[0] // cell), 3))
        image = image + noise.repeat(cell, 0).repeat(cell, 1)[: size[1], : size[0]].astype(np.int16)
    return Image.fromarray(image.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def large() -> bytes:
    return encoded(detailed(), "JPEG", quality=92)


def seen(data: bytes, resize: Resize, scaled: bool, channels: int = 3) -> np.ndarray:
    enough = resize.enough(SIZE) if scaled else None
    return to_array(decode(data, enough=enough), SIZE, channels, resize).astype(int)


@pytest.mark.parametrize("resize", WAYS, ids=str)
def test_the_pixels_hardly_differ_from_those_of_the_whole_image(
    large: bytes, resize: Resize
) -> None:
    image = decode(large, enough=resize.enough(SIZE))
    assert image.width < LARGE[0]
    needed = (round(n / DECODING_GAP) for n in resize.enough(SIZE)(*LARGE))
    assert all(side >= DECODING_GAP * least for side, least in zip(image.size, needed, strict=True))
    apart = np.abs(seen(large, resize, True) - seen(large, resize, False))
    assert apart.mean() < 1
    assert apart.max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_image_is_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photograph(1, LARGE), "JPEG", quality=92, exif=exif)
    apart = np.abs(seen(data, Resize("crop"), True) - seen(data, Resize("crop"), False))
    assert apart.max() <= 3


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_gray_cmyk_and_progressive_files(mode: str, options: dict[str, bool]) -> None:
    data = encoded(photograph(1, LARGE).convert(mode), "JPEG", quality=92, **options)
    image = decode(data, enough=Resize().enough(SIZE))
    assert image.mode == ("L" if mode == "L" else "RGB")
    assert image.width < LARGE[0]
    assert np.abs(seen(data, Resize(), True) - seen(data, Resize(), False)).max() <= 4


def test_small_images_and_other_formats_are_decoded_whole(large: bytes) -> None:
    small = encoded(photograph(1, (300, 220)), "JPEG")
    enough = Resize().enough(SIZE)
    assert decode(small, enough=enough) == decode(small)
    other = encoded(photograph(1, LARGE), "PNG")
    assert decode(other, enough=enough).size == LARGE
    assert inspect(large).pixels.size == LARGE, "the manifest has the sizes of the files"  # type: ignore[union-attr]


def test_what_is_cut_off_is_refused_all_the_same(large: bytes) -> None:
    enough = Resize().enough(SIZE)
    with pytest.raises(ValueError, match="cut off"):
        decode(large[: len(large) // 2], enough=enough)
    without_its_end = decode(large[:-2], enough=enough)
    whole = to_array(decode(large), SIZE, 3).astype(int)
    assert np.abs(to_array(without_its_end, SIZE, 3) - whole).max() <= 6


@pytest.mark.parametrize("resize", WAYS, ids=str)
def test_training_predict_and_serve_see_the_same(tmp_path: Path, resize: Resize) -> None:
    raw = tmp_path / "raw"
    manifest = packed(raw, [("a", detailed()), ("b", detailed((700, 1300)))], kind="jpeg")
    assert manifest.width.tolist() == [LARGE[0], 700]
    how = {"interpolation": resize.interpolation, "crop_fraction": resize.crop_fraction}
    params = PreprocessParams(SIZE, 3, resize.mode, "standardize", workers=1, **how)
    split = np.array(["train", "train"])
    data = prepare(raw, manifest, split, ["a", "b"], params, tmp_path / "prepared")
    spec = ModelSpec("mlp", {}, ("a", "b"), 3, SIZE, resize, (0.5,) * 3, (0.2,) * 3)
    for row, prepared in enumerate(data.images("train")[:]):
        place = (str(manifest.shard[row]), int(manifest.offset[row]), int(manifest.size[row]))
        file = tmp_path / f"{row}.jpg"
        file.write_bytes(read_bytes(raw, *place))
        assert np.array_equal(_decoded(InputImage("x", str(file)), spec), prepared)
        assert np.array_equal(pixels(file.read_bytes(), spec, Limits()), prepared)
