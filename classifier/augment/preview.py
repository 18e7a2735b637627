"""What each augmentation does to real images: arrays, so that a figure is drawn without torch."""

import dataclasses
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch

from classifier.augment.augmenter import Augmenter, AugmentParams
from classifier.augment.draws import Draws
from classifier.augment.policies import PolicyName

# What is off is shown at a strength at which one sees it.
_EXAMPLES: dict[str, Any] = {
    "horizontal_flip": "random",
    "vertical_flip": True,
    "shift": 0.25,
    "rotate": 20.0,
    "zoom": 0.3,
    "shear": 20.0,
    "crop": 0.4,
    "brightness": 0.5,
    "contrast": 0.6,
    "saturation": 0.9,
    "hue": 0.3,
    "grayscale": 1.0,
    "blur": 1.0,
    "noise": 0.1,
    "cutout": 0.4,
    "erasing": 1.0,
    "mixup": 1.0,
    "cutmix": 1.0,
}
_OF_COLOR = ("saturation", "hue", "grayscale")


def preview(
    images: np.ndarray,
    params: AugmentParams,
    fill: Sequence[float] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Apply each augmentation alone, and all that are on together, to the same images.

    Args:
        images: uint8 [n,H,W,C], C is 1 or 3; mixup and cutmix show something from two on.
        params: what is on is shown at its own strength, the rest at one that is easy to see.
        fill: as for ``Augmenter``.
        seed: of the random draws.

    Returns:
        before: uint8 [n,H,W,C], the images as given.
        after: uint8 [n,H,W,C], with everything that is on; equal to ``before`` when all is off.
        names: text [k], the k augmentations and policies; those of color not for gray images.
        settings: text [k], the value that each is shown at, as in params.yaml.
        on: bool [k], whether it is on in ``params``.
        images: uint8 [k,n,H,W,C], with that augmentation alone.
    """
    off = AugmentParams()
    given = dataclasses.asdict(params)
    # What is no augmentation by itself, but says how others are done.
    manner = {key: given[key] for key in ("padding", "rand_operations", "rand_magnitude")}
    names, settings, on, shown = [], [], [], []
    for key, example in _EXAMPLES.items():
        if key in _OF_COLOR and images.shape[-1] == 1:
            continue
        is_on = given[key] != getattr(off, key)
        value = given[key] if is_on else example
        names.append(key)
        settings.append(f"{value:g}" if isinstance(value, float) else str(value).lower())
        on.append(is_on)
        # Seeds of their own, or one image would change little or much in all of them.
        alone = AugmentParams(**manner, **{key: value})
        shown.append(_augment(images, alone, fill, seed + len(names)))
    for policy in get_args(PolicyName)[1:]:
        names.append("policy")
        settings.append(policy)
        on.append(params.policy == policy)
        alone = AugmentParams(**manner, policy=policy)
        shown.append(_augment(images, alone, fill, seed + len(names)))
    return {
        "before": images,
        "after": _augment(images, params, fill, seed),
        "names": np.array(names),
        "settings": np.array(settings),
        "on": np.array(on),
        "images": np.stack(shown),
    }


def _augment(
    images: np.ndarray, params: AugmentParams, fill: Sequence[float] | None, seed: int
) -> np.ndarray:
    n, size, channels = images.shape[0], images.shape[1], images.shape[3]
    augmenter = Augmenter(params, size, channels, fill)
    draws = Draws(torch.Generator().manual_seed(seed))
    batch = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2) / 255
    batch = augmenter(batch, draws, torch.arange(n))
    batch, _ = augmenter.mix(batch, torch.eye(n), draws)
    return (batch * 255).round().byte().permute(0, 2, 3, 1).numpy()
