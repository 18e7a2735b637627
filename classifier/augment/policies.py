"""Learned and random policies: a few operations drawn for each image from one fixed list.

AutoAugment (Cubuk et al. 2019, arXiv:1805.09501), RandAugment (Cubuk et al. 2020,
arXiv:1909.13719) and TrivialAugment (Müller & Hutter 2021, arXiv:2103.10158). Images of a batch
that drew the same operation are changed together. Unlike the papers' code, geometric operations
interpolate bilinearly, and what they leave behind is padded as ``augment.padding`` says.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from classifier.augment import color, geometric
from classifier.augment.draws import Draws

PolicyName = Literal["none", "trivial", "rand", "auto_cifar10", "auto_imagenet", "auto_svhn"]

# Geometric strengths are slopes, parts of the side, and degrees. At strength 0 only the last three
# operations change anything.
_GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_VALUES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": lambda images, strength: color.brightness(images, 1 + strength),
    "Color": lambda images, strength: color.saturation(images, 1 + strength),
    "Contrast": lambda images, strength: color.contrast(images, 1 + strength),
    "Sharpness": lambda images, strength: color.sharpness(images, 1 + strength),
    "Posterize": lambda images, strength: color.posterize(images, 8 - strength.round()),
    "Solarize": lambda images, strength: color.solarize(images, 1 - strength),
    "AutoContrast": lambda images, strength: color.autocontrast(images),
    "Equalize": lambda images, strength: color.equalize(images),
    "Invert": lambda images, strength: color.invert(images),
}
OPERATIONS = ("Identity", *_GEOMETRIC, *_VALUES)
_INDEX = {name: index for index, name in enumerate(OPERATIONS)}
_SIGNED = (*_GEOMETRIC, "Brightness", "Color", "Contrast", "Sharpness")
_DRAWN = len(OPERATIONS) - 1  # RandAugment and TrivialAugment leave out Invert, the last


def draw(
    policy: PolicyName,
    n: int,
    image_size: int,
    draws: Draws,
    operations: int = 2,
    magnitude: float = 9,
) -> list[tuple[Tensor, Tensor]]:
    """Draw for n images what a policy does, in order.

    Args:
        policy: not "none".
        image_size: side of the images in pixels.
        draws: of the batch that the images are of.
        operations: how many operations RandAugment applies to each image.
        magnitude: their strength, 0..30.

    Returns:
        Steps for ``apply``: the index of an operation in ``OPERATIONS``, int64 [n], and its
        strength, float [n], with the sign already drawn; both on the CPU.
    """
    if policy == "trivial":
        operation = draws.integers(n, 0, _DRAWN)
        level = draws.integers(n, 0, 31) / 30
        return [(operation, _strength(operation, level, _wide(image_size), draws))]
    if policy == "rand":
        drawn = [draws.integers(n, 0, _DRAWN) for _ in range(operations)]
        level = torch.full((n,), magnitude / 30)
        return [(step, _strength(step, level, _NARROW, draws)) for step in drawn]
    table = AUTO[policy.removeprefix("auto_")]
    choice = draws.integers(n, 0, len(table))
    steps = []
    for position in (0, 1):
        parts = [pair[position] for pair in table]
        operation = torch.tensor([_INDEX[name] for name, _, _ in parts])[choice]
        probability = torch.tensor([probability for _, probability, _ in parts])[choice]
        level = torch.tensor([level for _, _, level in parts])[choice] / 9
        operation = operation * (draws.uniform(n) < probability)
        steps.append((operation, _strength(operation, level, _NARROW, draws)))
    return steps


def apply(
    images: Tensor,
    operation: Tensor,
    strength: Tensor,
    padding: geometric.Padding = "reflect",
) -> Tensor:
    """Apply one drawn operation to each image.

    Args:
        images: float32 [N,C,H,W] in 0..1, on any device.
        operation, strength: a step as from ``draw``, on the CPU.
        padding: for the geometric operations.

    Returns:
        float32 [N,C,H,W] in 0..1.
    """
    out = images.clone()
    groups: list[tuple[Tensor, Callable[[Tensor, Tensor], Tensor]]] = [
        (operation == _INDEX[name], change) for name, change in _VALUES.items()
    ]
    first, last = _INDEX[_GEOMETRIC[0]], _INDEX[_GEOMETRIC[-1]]
    moved = (operation >= first) & (operation <= last)
    matrices = _matrices(operation[moved], strength[moved], images.shape[-1])
    groups.append((moved, lambda chosen, _: geometric.resample(chosen, matrices, padding)))
    for chosen, change in groups:
        index = chosen.nonzero()[:, 0]  # on the CPU, where it needs no synchronization
        if len(index):
            place = index.to(images.device)
            out[place] = change(images[place], strength[index].to(images.device))
    return out


def _matrices(operation: Tensor, strength: Tensor, size: int) -> Tensor:
    def only(name: str) -> Tensor:
        return strength * (operation == _INDEX[name])

    return (
        geometric.translation(size * only("TranslateX"), size * only("TranslateY"))
        @ geometric.rotation(only("Rotate"))
        @ geometric.shearing(only("ShearX"), only("ShearY"))
    )


def _strength(
    operation: Tensor, level: Tensor, greatest: Mapping[str, float], draws: Draws
) -> Tensor:
    """The part ``level`` (0..1) of each operation's greatest strength, with a random sign where
    both directions exist."""
    scale = torch.tensor([greatest.get(name, 0.0) for name in OPERATIONS])
    signed = torch.tensor([name in _SIGNED for name in OPERATIONS])
    negative = draws.happens(len(operation), 0.5) & signed[operation]
    return scale[operation] * level * torch.where(negative, -1, 1)


# The greatest strengths in AutoAugment and RandAugment.
_NARROW = {
    "ShearX": 0.3,
    "ShearY": 0.3,
    "TranslateX": 150 / 331,
    "TranslateY": 150 / 331,
    "Rotate": 30,
    "Brightness": 0.9,
    "Color": 0.9,
    "Contrast": 0.9,
    "Sharpness": 0.9,
    "Posterize": 4,
    "Solarize": 1,
}


def _wide(image_size: int) -> dict[str, float]:
    """The greatest strengths of TrivialAugment (Wide), which moves by up to 32 pixels."""
    shift = min(32 / image_size, 1)
    return {
        "ShearX": 0.99,
        "ShearY": 0.99,
        "TranslateX": shift,
        "TranslateY": shift,
        "Rotate": 135,
        "Brightness": 0.99,
        "Color": 0.99,
        "Contrast": 0.99,
        "Sharpness": 0.99,
        "Posterize": 6,
        "Solarize": 1,
    }


# The policies that AutoAugment found: for each image one row is drawn, and its two operations
# are applied with their probabilities and levels (of 9).
AUTO: Mapping[str, tuple[tuple[tuple[str, float, int], tuple[str, float, int]], ...]] = {
    "cifar10": (
        (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
        (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
        (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
        (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
        (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
        (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
        (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
        (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
        (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
        (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
        (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
        (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
        (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
        (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
        (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
        (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
        (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
        (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
        (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
        (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
        (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
        (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
        (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
    ),
    "imagenet": (
        (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
        (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
        (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
        (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
        (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
        (("Equalize", 0.4, 0), ("Rotate", 0.8, 8)),
        (("Solarize", 0.6, 3), ("Equalize", 0.6, 0)),
        (("Posterize", 0.8, 5), ("Equalize", 1.0, 0)),
        (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
        (("Equalize", 0.6, 0), ("Posterize", 0.4, 6)),
        (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
        (("Rotate", 0.4, 9), ("Equalize", 0.6, 0)),
        (("Equalize", 0.0, 0), ("Equalize", 0.8, 0)),
        (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
        (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
        (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
        (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
        (("Sharpness", 0.4, 7), ("Invert", 0.6, 0)),
        (("ShearX", 0.6, 5), ("Equalize", 1.0, 0)),
        (("Color", 0.4, 0), ("Equalize", 0.6, 0)),
        (("Equalize", 0.4, 0), ("Solarize", 0.2, 4)),
        (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 0)),
        (("Invert", 0.6, 0), ("Equalize", 1.0, 0)),
        (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
        (("Equalize", 0.8, 0), ("Equalize", 0.6, 0)),
    ),
    "svhn": (
        (("ShearX", 0.9, 4), ("Invert", 0.2, 0)),
        (("ShearY", 0.9, 8), ("Invert", 0.7, 0)),
        (("Equalize", 0.6, 0), ("Solarize", 0.6, 6)),
        (("Invert", 0.9, 0), ("Equalize", 0.6, 0)),
        (("Equalize", 0.6, 0), ("Rotate", 0.9, 3)),
        (("ShearX", 0.9, 4), ("AutoContrast", 0.8, 0)),
        (("ShearY", 0.9, 8), ("Invert", 0.4, 0)),
        (("ShearY", 0.9, 5), ("Solarize", 0.2, 6)),
        (("Invert", 0.9, 0), ("AutoContrast", 0.8, 0)),
        (("Equalize", 0.6, 0), ("Rotate", 0.9, 3)),
        (("ShearX", 0.9, 4), ("Solarize", 0.3, 3)),
        (("ShearY", 0.8, 8), ("Invert", 0.7, 0)),
        (("Equalize", 0.9, 0), ("TranslateY", 0.6, 6)),
        (("Invert", 0.9, 0), ("Equalize", 0.6, 0)),
        (("Contrast", 0.3, 3), ("Rotate", 0.8, 4)),
        (("Invert", 0.8, 0), ("TranslateY", 0.0, 2)),
        (("ShearY", 0.7, 6), ("Solarize", 0.4, 8)),
        (("Invert", 0.6, 0), ("Rotate", 0.8, 4)),
        (("ShearY", 0.3, 7), ("TranslateX", 0.9, 3)),
        (("ShearX", 0.1, 6), ("Invert", 0.6, 0)),
        (("Solarize", 0.7, 2), ("TranslateY", 0.6, 7)),
        (("ShearY", 0.8, 4), ("Invert", 0.8, 0)),
        (("ShearX", 0.7, 9), ("TranslateY", 0.8, 3)),
        (("ShearY", 0.8, 5), ("AutoContrast", 0.7, 0)),
        (("ShearX", 0.7, 2), ("Invert", 0.1, 0)),
    ),
}
