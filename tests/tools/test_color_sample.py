"""The sample in color is what the script draws, small, and a data set as anybody's."""

from pathlib import Path

import numpy as np
from PIL import Image

from classifier.images.manifest import Manifest
from tests.sources.test_download import take
from tools.color_sample import EACH, FOLDER, SHAPES, pictures


def test_the_pictures_are_those_that_the_script_draws() -> None:
    for name, image in pictures():
        stored = np.asarray(Image.open(FOLDER / name), int)
        # JPEG rounds, in another version of its library otherwise.
        assert np.abs(stored - np.asarray(image, int)).mean() < 12, name
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.jpg")) < 400_000


def test_colors_alone_do_not_tell_the_classes() -> None:
    means = {
        name: np.array(
            [np.asarray(Image.open(path)).mean((0, 1)) for path in FOLDER.glob(f"{name}/*")]
        )
        for name in SHAPES
    }
    centers = {name: values.mean(0) for name, values in means.items()}
    right = [
        min(centers, key=lambda other: float(np.abs(value - centers[other]).sum())) == name
        for name, values in means.items()
        for value in values
    ]
    assert np.mean(right) < 0.6


def test_it_is_taken_in_as_a_folder_of_classes(tmp_path: Path) -> None:
    assert take(FOLDER, tmp_path / "raw").rejected == 0
    manifest = Manifest.read(tmp_path / "raw")
    assert {name: int((manifest.label == name).sum()) for name in SHAPES} == dict.fromkeys(
        SHAPES, EACH
    )
    assert len({*zip(manifest.width.tolist(), manifest.height.tolist(), strict=True)}) > 10
