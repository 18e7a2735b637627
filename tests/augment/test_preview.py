"""The arrays behind the figure of augmentations."""

from dataclasses import replace

import numpy as np
import pytest

from classifier.augment.augmenter import AugmentParams
from classifier.augment.preview import preview
from classifier.core.arrays import write_arrays

PARAMS = AugmentParams(shift=0.125, cutout=0.25, policy="rand", mixup=0.4)


def random_images(channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(6, 24, 24, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_augmentation_is_shown_alone_and_all_that_are_on_together(channels):
    images = random_images(channels)
    shown = preview(images, PARAMS, fill=[0.5] * channels)
    k = len(shown["names"])
    assert k == (23 if channels == 3 else 20)
    assert shown["images"].shape == (k, *images.shape)
    assert shown["images"].dtype == shown["after"].dtype == np.uint8
    np.testing.assert_array_equal(shown["before"], images)
    assert not np.array_equal(shown["after"], images)
    for name, changed in zip(shown["names"], shown["images"], strict=True):
        assert not np.array_equal(changed, images), name
    assert shown["names"][shown["on"]].tolist() == ["shift", "cutout", "mixup", "policy"]
    assert shown["settings"][shown["on"]].tolist() == ["0.125", "0.25", "0.4", "rand"]


def test_all_off_leaves_the_images_and_still_shows_what_there_is():
    images = random_images(3)
    shown = preview(images, AugmentParams())
    assert not shown["on"].any()
    np.testing.assert_array_equal(shown["after"], images)


def test_alternate_flip_can_be_shown():
    shown = preview(random_images(3), replace(PARAMS, horizontal_flip="alternate"))
    assert shown["settings"][0] == "alternate"


def test_saved_arrays_load_without_pickle(tmp_path):
    write_arrays(tmp_path / "a.npz", preview(random_images(1), PARAMS))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        assert set(loaded.files) == {"before", "after", "names", "settings", "on", "images"}
        assert loaded["names"][0] == "horizontal_flip"
