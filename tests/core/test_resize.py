"""Images for pretrained weights have the pixels that the weights were trained with."""

import json

import numpy as np
import pytest
import timm.data
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from classifier.core.errors import UserError
from classifier.core.resize import Resize, described, resize_in, to_array
from tests.support.image_files import WAYS, photograph

SHAPES = [(320, 240), (240, 321), (1000, 667), (683, 1024), (90, 131), (224, 224), (256, 256)]


def noisy(shape: tuple[int, int]) -> Image.Image:
    """Smooth colors and hard edges of one pixel."""
    pixels = np.array(photograph(sum(shape), shape))
    noise = np.random.default_rng(sum(shape)).integers(0, 256, pixels.shape, dtype=np.uint8)
    pixels[::3, ::2] = noise[::3, ::2]
    return Image.fromarray(pixels)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("fraction", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("mode", ["crop", "squash"])
def test_the_pixels_are_those_of_timm(shape: tuple[int, int], fraction: float, mode: str) -> None:
    # Pillow does columns first where an image grows across and shrinks down, and each pass rounds.
    columns_first = mode == "squash" and shape == (240, 321)
    image = photograph(0, shape) if columns_first else noisy(shape)
    theirs = timm.data.create_transform(
        (3, 224, 224),
        interpolation="bicubic",
        crop_pct=fraction,
        crop_mode={"crop": "center"}.get(mode, mode),
        normalize=False,
    )
    found = to_array(image, 224, 3, Resize(mode, "bicubic", fraction))  # type: ignore[arg-type]
    wanted = theirs(image).permute(1, 2, 0).numpy()
    assert np.abs(found.astype(int) - wanted).max() <= (2 if columns_first else 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("size", "scaled"), [(224, 256), (224, 232), (299, 342), (224, 236)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_pixels_are_those_of_torchvision(
    shape: tuple[int, int], size: int, scaled: int, interpolation: str
) -> None:
    image = noisy(shape)
    theirs = ImageClassification(
        crop_size=size,
        resize_size=scaled,
        interpolation=InterpolationMode(interpolation),
        mean=(0.0,) * 3,
        std=(1 / 255,) * 3,
    )
    fraction = float(f"{size / scaled:.6g}")  # as meta.json keeps it
    found = to_array(image, size, 3, Resize("crop", interpolation, fraction))  # type: ignore[arg-type]
    wanted = theirs(image).permute(1, 2, 0).numpy()
    assert np.abs(found - wanted).max() <= 1 + 1e-3


@pytest.mark.parametrize("resize", WAYS, ids=str)
def test_files_keep_the_way(resize: Resize) -> None:
    assert resize_in({"resize": json.loads(json.dumps(described(resize)))}) == resize


def test_the_ways_of_earlier_versions_are_written_as_they_were() -> None:
    assert described(Resize("crop")) == "crop"
    assert resize_in({"resize": "pad"}) == Resize("pad")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("x", "resize.mode is 'x': choose squash, crop or pad."),
        ({"mode": "crop", "crop_fraction": 0}, "resize.crop_fraction is 0"),
        ({"mode": "pad", "crop_fraction": 0.9}, "what pad adds is not cropped"),
    ],
)
def test_other_values_are_no_ways(value: object, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        resize_in({"resize": value})
