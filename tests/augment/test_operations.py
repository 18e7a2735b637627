"""Each operation of the augmentation, and the policies, against torchvision or Pillow."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.autoaugment import AutoAugmentPolicy
from torchvision.transforms.v2 import functional as tv

from classifier.augment import color, geometric, policies
from classifier.augment.draws import Draws

SIZE = 15
STRENGTHS = torch.tensor([-1.0, -0.4, 0.0, 0.3, 0.7, 1.0])


def random_images(n: int = len(STRENGTHS), channels: int = 3, size: int = SIZE) -> torch.Tensor:
    """Images of whole levels of 255."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(256, (n, channels, size, size), generator=generator) / 255


def compare(ours: torch.Tensor, theirs: list[torch.Tensor], atol: float = 1e-5) -> None:
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=0, atol=atol)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ours", "theirs", "values"),
    [
        (color.brightness, tv.adjust_brightness, 1 + STRENGTHS),
        (color.contrast, tv.adjust_contrast, 1 + STRENGTHS),
        (color.saturation, tv.adjust_saturation, 1 + STRENGTHS),
        (color.sharpness, tv.adjust_sharpness, 1 + STRENGTHS),
        (color.hue, tv.adjust_hue, STRENGTHS / 2),
        (color.solarize, tv.solarize, STRENGTHS.abs()),
    ],
    ids=["brightness", "contrast", "saturation", "sharpness", "hue", "solarize"],
)
def test_values_change_as_in_torchvision(ours, theirs, values, channels):
    images = random_images(channels=channels)
    compare(
        ours(images, values),
        [theirs(image, value.item()) for image, value in zip(images, values, strict=True)],
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 7, 8])
def test_posterize_keeps_the_highest_bits(bits):
    images = random_images()
    levels = (images * 255).round().byte()
    expected = tv.posterize(levels, bits).float() / 255
    torch.testing.assert_close(color.posterize(images, torch.full((6,), bits)), expected)


def test_autocontrast_is_torchvisions():
    images = 0.2 + 0.5 * random_images()
    images[0, 1] = 0.3  # a flat channel stays
    compare(color.autocontrast(images), [tv.autocontrast(image) for image in images])


@pytest.mark.parametrize("size", [8, 33])
def test_equalize_is_pillows(size):
    images = random_images(size=size) ** 2
    images[0, 1] = 0.3
    images = (images * 255).round() / 255
    out = (color.equalize(images) * 255).round().byte()
    for image, equalized in zip((images * 255).byte(), out, strict=True):
        expected = ImageOps.equalize(Image.fromarray(image.permute(1, 2, 0).numpy()))
        np.testing.assert_array_equal(equalized.permute(1, 2, 0), np.asarray(expected))


def test_blur_is_torchvisions_and_nothing_at_zero():
    images = random_images()
    sigma = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.5, 2.0])
    ours = color.blur(images, sigma, radius=6)
    assert torch.equal(ours[0], images[0])
    compare(
        ours[1:],
        [
            tv.gaussian_blur(image, [13, 13], [s.item()] * 2)
            for image, s in zip(images[1:], sigma[1:], strict=True)
        ],
    )


def test_noise_has_the_asked_deviation():
    gray = torch.full((4, 3, 64, 64), 0.5)
    deviation = torch.tensor([0.0, 0.02, 0.05, 0.1])
    out = color.noise(gray, deviation, Draws(torch.Generator().manual_seed(0)))
    torch.testing.assert_close(out.std((1, 2, 3)), deviation, rtol=0.05, atol=0)


def affine(images, angle=0.0, translate=(0, 0), scale=1.0, shear=(0.0, 0.0)):
    bilinear = InterpolationMode.BILINEAR
    return [
        tv.affine(image, angle, list(translate), scale, list(shear), interpolation=bilinear)
        for image in images
    ]


def degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))


@pytest.mark.parametrize("value", [-40.0, 0.0, 25.0, 90.0])
def test_rotation_is_torchvisions(value):
    images = random_images()
    matrix = geometric.rotation(torch.full((6,), value))
    ours = geometric.resample(images, matrix, "zero")
    compare(ours, affine(images, angle=value), atol=1e-4)
    if value == 90:
        torch.testing.assert_close(ours, images.rot90(-1, (2, 3)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("slopes", [(0.3, 0.0), (0.0, -0.4), (0.2, 0.5)])
def test_shear_is_torchvisions(slopes):
    images = random_images()
    x, y = (torch.full((6,), slope) for slope in slopes)
    ours = geometric.resample(images, geometric.shearing(x, y), "zero")
    compare(ours, affine(images, shear=[degrees(slope) for slope in slopes]), atol=1e-4)


def test_all_moves_together_are_torchvisions_affine():
    images = random_images()
    each = torch.ones(6)
    matrix = (
        geometric.translation(2 * each, -3 * each)
        @ geometric.rotation(20 * each)
        @ geometric.shearing(0.1 * each, 0.2 * each)
        @ geometric.scaling(1.3 * each, 1.3 * each)
    )
    ours = geometric.resample(images, matrix, "zero")
    theirs = affine(images, 20.0, (2, -3), 1.3, (degrees(0.1), degrees(0.2)))
    compare(ours, theirs, atol=1e-4)


def test_each_operation_of_a_policy_reaches_exactly_its_images():
    images = random_images(2 * len(policies.OPERATIONS)) / 2 + 0.2
    operation = torch.arange(len(policies.OPERATIONS)).repeat(2)
    out = policies.apply(images, operation, torch.full((len(operation),), 0.4), "zero")
    changed = (out != images).flatten(1).any(1)
    for index, name in enumerate(policies.OPERATIONS):
        # An image of fewer than 256 pixels cannot be equalized.
        assert changed[operation == index].all() == (name not in ("Identity", "Equalize")), name
    chosen = operation == policies.OPERATIONS.index("Brightness")
    torch.testing.assert_close(
        out[chosen], color.brightness(images[chosen], torch.tensor([1.4, 1.4]))
    )
    chosen = operation == policies.OPERATIONS.index("TranslateX")  # 0.4 of the side: 6 pixels
    compare(out[chosen], affine(images[chosen], translate=(6, 0)))


@pytest.mark.parametrize(
    ("policy", "theirs"),
    [("rand", v2.RandAugment()), ("trivial", v2.TrivialAugmentWide())],
)
def test_random_policies_draw_torchvisions_operations_and_strengths(policy, theirs):
    size = 32
    steps = policies.draw(
        policy, 20_000, size, Draws(torch.Generator().manual_seed(0)), magnitude=30
    )
    assert len(steps) == (2 if policy == "rand" else 1)
    operation, strength = steps[0]
    space = theirs._AUGMENTATION_SPACE
    assert set(space) == {policies.OPERATIONS[i] for i in operation.unique()}
    for name, (magnitudes, signed) in space.items():
        drawn = strength[operation == policies.OPERATIONS.index(name)]
        assert abs(len(drawn) * 14 / 20_000 - 1) < 0.1
        greatest = magnitudes(31, size, size)
        if greatest is None:
            continue
        expected = greatest[-1].item()
        if name.startswith("Translate"):
            expected = expected / size
        elif name == "Posterize":
            expected = 8 - expected
        elif name == "Solarize":
            expected = 1 - expected
        assert drawn.max().item() == pytest.approx(expected)
        assert (drawn.min() < 0).item() == signed


@pytest.mark.parametrize("name", ["cifar10", "imagenet", "svhn"])
def test_found_policies_are_the_published_ones(name):
    published = v2.AutoAugment(AutoAugmentPolicy(name))._policies
    ours = policies.AUTO[name]
    assert len(ours) == 25
    for pair, expected in zip(ours, published, strict=True):
        assert pair == tuple((op, p, level or 0) for op, p, level in expected)


def test_found_policies_apply_each_operation_with_its_probability():
    steps = policies.draw("auto_cifar10", 50_000, 32, Draws(torch.Generator().manual_seed(0)))
    assert len(steps) == 2
    for position, (operation, strength) in enumerate(steps):
        applied = np.mean([pair[position][1] for pair in policies.AUTO["cifar10"]])
        assert (operation > 0).float().mean().item() == pytest.approx(applied, abs=0.02)
        assert (strength[operation == 0] == 0).all()
