"""Augmenter: exact moves, randomness for each picture, and determinism."""

import numpy as np
import pytest
import torch

from classifier.augment import Augmenter, AugmentParams
from classifier.augment.geometric import move


def pictures(n: int = 64, channels: int = 3, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, channels, size, size, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize("channels", [1, 3])
def test_moves_copy_exactly_the_pixels_numpy_pads_and_cuts(channels, padding):
    images = pictures(40, channels, 9)
    shifts = torch.randint(-4, 5, (2, 40), generator=seeded())
    flips = torch.rand(2, 40, generator=seeded()) < 0.5
    moved = move(images, flips[0], flips[1], shifts[0], shifts[1], padding)
    for i in range(40):
        expected = images[i].numpy()
        expected = expected[:, :, ::-1] if flips[0, i] else expected
        expected = expected[:, ::-1] if flips[1, i] else expected
        mode = {"reflect": "reflect", "zero": "constant"}[padding]
        expected = np.pad(expected, ((0, 0), (4, 4), (4, 4)), mode=mode)
        top, left = 4 - shifts[1, i], 4 - shifts[0, i]
        np.testing.assert_array_equal(moved[i], expected[:, top : top + 9, left : left + 9])


def test_random_flip_mirrors_about_half_of_the_pictures():
    images = pictures(1000, size=8)
    out = Augmenter(AugmentParams(horizontal_flip="random"), 8, 3)(images, seeded())
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 430 < mirrored.sum() < 570


def test_alternate_flip_shows_each_picture_once_each_way_in_two_epochs():
    images = pictures(200, size=8)
    augmenter = Augmenter(AugmentParams(horizontal_flip="alternate"), 8, 3)
    rows = torch.randperm(200, generator=seeded())
    first, second = (augmenter(images, seeded(epoch), rows, epoch) for epoch in (0, 1))
    torch.testing.assert_close(first, second.flip(3), rtol=0, atol=0)
    mirrored = (first == images.flip(3)).flatten(1).all(1)
    assert 80 < mirrored.sum() < 120
    with pytest.raises(ValueError, match="rows"):
        augmenter(images, seeded())


def test_shift_is_a_fraction_of_the_side():
    for size, pixels in ((8, 1), (32, 4)):
        images = torch.zeros(500, 1, size, size)
        images[:, :, size // 2, size // 2] = 1
        params = AugmentParams(shift=0.125, padding="zero")
        out = Augmenter(params, size, 1)(images, seeded())
        _, _, y, x = out.nonzero(as_tuple=True)
        assert set((x - size // 2).tolist()) == set(range(-pixels, pixels + 1))
        assert set((y - size // 2).tolist()) == set(range(-pixels, pixels + 1))
