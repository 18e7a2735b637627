"""Augmenter: exact moves, randomness for each image, determinism, and the mixing of images."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from classifier.augment import mixing
from classifier.augment.augmenter import Augmenter, AugmentParams
from classifier.augment.draws import Draws
from classifier.augment.geometric import move
from classifier.core.params import load, read

# Each knob alone, at a strength that shows.
SETTINGS = {
    "horizontal_flip": "random",
    "vertical_flip": True,
    "shift": 0.25,
    "rotate": 30.0,
    "zoom": 0.5,
    "shear": 20.0,
    "crop": 0.3,
    "policy": "trivial",
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.8,
    "hue": 0.4,
    "grayscale": 0.5,
    "blur": 1.0,
    "noise": 0.2,
    "cutout": 0.5,
    "erasing": 1.0,
}
OF_COLOR = ("saturation", "hue", "grayscale")
POLICIES = ("trivial", "rand", "auto_cifar10", "auto_imagenet", "auto_svhn")
ALL = [AugmentParams(**{name: value}) for name, value in SETTINGS.items()]
ALL += [AugmentParams(policy=name) for name in POLICIES[1:]]
ALL += [AugmentParams(**SETTINGS), AugmentParams(**SETTINGS, padding="zero")]
NAMES = [*SETTINGS, *POLICIES[1:], "everything", "everything, zero padding"]


def random_images(n: int = 64, channels: int = 3, size: int = 16) -> torch.Tensor:
    """Smooth random images, whose pixels are far from all the same."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(n, channels, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return images.contiguous(memory_format=torch.channels_last)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(seed: int = 0) -> Draws:
    return Draws(seeded(seed))


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_each_keeps_shape_type_and_range_and_leaves_its_input(params, channels, size):
    images = random_images(32, channels, size)
    before = images.clone()
    augmenter = Augmenter(params, size, channels, fill=[0.5] * channels)
    assert augmenter.active
    out = augmenter(images, draws())
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.isfinite(out).all()
    assert torch.equal(images, before)


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_each_changes_every_image_in_its_own_way(params):
    one = random_images(1)
    out = Augmenter(params, 16, 3)(one.expand(256, -1, -1, -1), draws())
    different = {image.numpy().tobytes() for image in out}
    only_two = params.horizontal_flip != "none" or params.vertical_flip or params.grayscale
    assert len(different) >= (2 if only_two else 20)


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_same_seed_same_images_whatever_the_memory_layout(params):
    images = random_images()
    augmenter = Augmenter(params, 16, 3)
    first, again = augmenter(images, draws(3)), augmenter(images, draws(3))
    assert torch.equal(first, again)
    assert not torch.equal(first, augmenter(images, draws(4)))
    rows_first = augmenter(images.contiguous(), draws(3))
    torch.testing.assert_close(first, rows_first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_half_precision_comes_back_as_it_went_in(params):
    images = random_images().bfloat16()
    out = Augmenter(params, 16, 3)(images, draws())
    assert out.dtype == torch.bfloat16


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_everything_drawn_follows_the_images_to_their_device(params):
    # The meta device computes nothing but refuses operands that were left on another one.
    images = random_images().to("meta")
    augmenter = Augmenter(replace(params, mixup=0.4, cutmix=1.0), 16, 3)
    out = augmenter(images, draws())
    out, labels = augmenter.mix(out, torch.eye(64, device="meta"), draws())
    assert out.device == labels.device == images.device
    assert out.shape == images.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("params", ALL[:-2], ids=NAMES[:-2])
def test_same_seed_same_images_on_the_gpu(params):
    images = random_images()
    augmenter = Augmenter(params, 16, 3)
    there = augmenter(images.cuda(), draws()).cpu()
    off = (there - augmenter(images, draws())).abs() > 1e-3
    assert off.float().mean() < 1e-3  # rounding may carry a level over a step of a policy


def test_nothing_on_changes_nothing_and_says_so():
    augmenter = Augmenter(AugmentParams(), 16, 3)
    images, labels = random_images(), torch.eye(64)
    assert not augmenter.active
    assert not augmenter.mixes
    assert torch.equal(augmenter(images, draws()), images)
    assert all(map(torch.equal, augmenter.mix(images, labels, draws()), (images, labels)))


@pytest.mark.parametrize("name", OF_COLOR)
def test_colors_leave_gray_images_as_they_are(name):
    images = random_images(channels=1)
    out = Augmenter(AugmentParams(**{name: SETTINGS[name]}), 16, 1)(images, draws())
    torch.testing.assert_close(out, images)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize("channels", [1, 3])
def test_moves_copy_exactly_the_pixels_numpy_pads_and_cuts(channels, padding):
    images = random_images(40, channels, 9)
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


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_resampling_agrees_with_exact_moves(padding):
    # The smallest rotation makes the same flips and shifts go through the resampling.
    images = random_images(size=17)
    exact = AugmentParams(horizontal_flip="random", vertical_flip=True, shift=0.3, padding=padding)
    moved = Augmenter(exact, 17, 3)(images, draws())
    resampled = Augmenter(replace(exact, rotate=1e-6), 17, 3)(images, draws())
    torch.testing.assert_close(moved, resampled, rtol=0, atol=1e-4)


def test_random_flip_mirrors_about_half_of_the_images():
    images = random_images(1000, size=8)
    out = Augmenter(AugmentParams(horizontal_flip="random"), 8, 3)(images, draws())
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 430 < mirrored.sum() < 570


@pytest.mark.parametrize("more", [{}, {"rotate": 1e-6}])
def test_alternate_flip_shows_each_image_once_each_way_in_two_epochs(more):
    images = random_images(200, size=8)
    augmenter = Augmenter(AugmentParams(horizontal_flip="alternate", **more), 8, 3)
    rows = torch.randperm(200, generator=seeded())
    first, second = (augmenter(images, draws(epoch), rows, epoch) for epoch in (0, 1))
    torch.testing.assert_close(first, second.flip(3), rtol=0, atol=1e-4)
    mirrored = (first - images.flip(3)).abs().flatten(1).amax(1) < 1e-4
    assert 80 < mirrored.sum() < 120
    with pytest.raises(ValueError, match="rows"):
        augmenter(images, draws())


def test_shift_is_a_fraction_of_the_side():
    for size, pixels in ((8, 1), (32, 4)):
        images = torch.zeros(500, 1, size, size)
        images[:, :, size // 2, size // 2] = 1
        params = AugmentParams(shift=0.125, padding="zero")
        out = Augmenter(params, size, 1)(images, draws())
        _, _, y, x = out.nonzero(as_tuple=True)
        assert set((x - size // 2).tolist()) == set(range(-pixels, pixels + 1))
        assert set((y - size // 2).tolist()) == set(range(-pixels, pixels + 1))


def test_crop_shows_a_part_of_the_image_at_the_asked_size():
    ramp = torch.arange(64.0).expand(500, 1, 64, 64) / 63
    out = Augmenter(AugmentParams(crop=0.25), 64, 1)(ramp, draws())
    span = out[:, 0, 32, -1] - out[:, 0, 32, 0]  # the shown part of the width
    assert 0.4 < span.min() < 0.5  # the square root of 1/4 times that of 3/4
    assert span.max() > 0.99


def test_cutout_erases_one_square_with_the_fill():
    images = torch.zeros(400, 3, 16, 16)
    fill = [0.25, 0.5, 0.75]
    out = Augmenter(AugmentParams(cutout=0.5), 16, 3, fill)(images, draws())
    erased = out[:, 0] > 0
    torch.testing.assert_close(out[:, :, 8, 8].amax(0), torch.tensor(fill))
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(heights * widths, erased.sum((1, 2)))  # rectangles, cut off at the edges
    assert heights.max() == widths.max() == 8
    assert 4 <= heights.min() <= widths.max()


def test_erasing_takes_its_probability_and_areas_from_the_paper():
    out = Augmenter(AugmentParams(erasing=0.25), 32, 1, [1.0])(
        torch.zeros(4000, 1, 32, 32), draws()
    )
    area = out.mean((1, 2, 3))
    assert 0.2 < (area > 0).float().mean() < 0.3
    assert area[area > 0].min() > 0.01
    assert area.max() < 0.37


@pytest.mark.parametrize(
    "setting", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}]
)
def test_mixing_keeps_the_label_mass_and_the_share_of_each_image(setting):
    # Image i is the constant i, so that pixels tell the fraction of each image.
    n, size = 50, 16
    images = (torch.arange(n).float() / n).view(n, 1, 1, 1).expand(n, 3, size, size)
    labels = torch.eye(n)
    augmenter = Augmenter(AugmentParams(**setting), size, 3)
    assert augmenter.active
    assert augmenter.mixes
    for seed in range(4):
        mixed, soft = augmenter.mix(images, labels, draws(seed))
        torch.testing.assert_close(soft.sum(1), torch.ones(n))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), soft @ images[:, 0, 0, 0])
        assert len(soft.amax(1).unique()) > 10
        assert torch.equal(augmenter.mix(images, labels, draws(seed))[0], mixed)


def test_both_mixings_on_take_turns():
    images, labels = random_images(), torch.eye(64)
    augmenter = Augmenter(AugmentParams(mixup=0.4, cutmix=1.0), 16, 3)
    copied = []
    for seed in range(30):
        mixed, _ = augmenter.mix(images, labels, draws(seed))
        copied.append(((mixed == images) | (mixed == images.roll(1, 0))).all().item())
    assert 5 < sum(copied) < 25


def test_mixup_is_torchvisions_with_the_same_share():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    images, labels = random_images(), torch.randint(5, (64,), generator=seeded())
    onehot = torch.nn.functional.one_hot(labels, 5).float()
    facts = {"labels": labels, "batch_size": 64, "lam": 0.3}
    theirs = v2.MixUp(num_classes=5)
    ours = mixing.mixup(images, onehot, torch.full((64,), 0.3))
    torch.testing.assert_close(ours[0], theirs.transform(images, facts))
    torch.testing.assert_close(ours[1], theirs.transform(labels, facts))


def test_cutmix_is_torchvisions_with_the_same_box():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    images, labels = random_images(), torch.randint(5, (64,), generator=seeded())
    onehot = torch.nn.functional.one_hot(labels, 5).float()
    center = torch.tensor([6.0, 14.0])[:, None].expand(2, 64)
    inside = mixing.boxes(center, torch.full((64,), 4.0), torch.full((64,), 8.0), 16)
    facts = {
        "labels": labels,
        "batch_size": 64,
        "box": (10, 4, 16, 8),
        "lam_adjusted": 1 - 6 * 4 / 256,
    }
    theirs = v2.CutMix(num_classes=5)
    ours = mixing.cutmix(images, onehot, inside)
    torch.testing.assert_close(ours[0], theirs.transform(images, facts))
    torch.testing.assert_close(ours[1], theirs.transform(labels, facts))


def test_params_yaml_names_every_knob():
    knobs = asdict(AugmentParams())
    assert set(SETTINGS) | {"mixup", "cutmix"} <= set(knobs)
    assert set(read()["augment"]) == set(knobs)
    load("augment", AugmentParams)


@pytest.mark.parametrize("params", ALL, ids=NAMES)
def test_a_part_of_a_batch_is_augmented_as_within_the_whole(params):
    images, labels = random_images(), torch.eye(64)
    rows = torch.tensor([63, 0, 1, 2, 3, 40, 41, 42])
    augmenter = Augmenter(replace(params, mixup=0.4, cutmix=1.0), 16, 3)
    whole, part = draws(), Draws(seeded(), 64, rows)
    expected = augmenter.mix(augmenter(images, whole), labels, whole)
    found = augmenter.mix(augmenter(images[rows], part), labels[rows], part)
    inner = torch.tensor([1, 2, 3, 4, 6, 7])  # whose neighbors are here
    for ours, theirs in zip(found, expected, strict=True):
        # A map by bilinear interpolation may round otherwise at another place in memory.
        assert torch.allclose(ours[inner], theirs[rows[inner]], atol=1e-4)
