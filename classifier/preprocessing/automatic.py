"""What `auto` stands for in the section ``preprocess``, and what is said about it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from classifier.core.pretrained import Input, Start
from classifier.core.types import IntegerArray
from classifier.preprocessing.params import PreprocessParams

if TYPE_CHECKING:
    import pandas as pd

LARGEST_AUTO_SIZE = 224
# What this project's own networks learn from scratch: on photographs they are no better at 224
# pixels, which take twelve times as long.
LARGEST_FROM_SCRATCH = 64
PHOTOGRAPH = 96  # pixels, the median shorter side from which on images are taken for photographs


def settled(
    params: PreprocessParams,
    width: IntegerArray,
    height: IntegerArray,
    start: Start | None = None,
    wanted: Input | None = None,
) -> tuple[PreprocessParams, list[str]]:
    """The parameters with ``auto`` replaced, but for ``channels`` and ``encoded_size``.

    With pretrained weights that is as they want it; otherwise the size is that of `automatic_size`,
    for networks of this project at most LARGEST_FROM_SCRATCH, and images are squashed.

    Args:
        width: [N] of the images, in pixels, and so ``height``.
        start: the network and its weights; None: any.
        wanted: what the weights want to see; None where there are none.

    Returns:
        The parameters, and lines to tell the user.
    """
    lines = []
    size, mode, filtered = params.image_size, params.resize, params.interpolation
    if size == "auto":
        if wanted:
            size = wanted.image_size
        else:
            size = found = automatic_size(width, height)
            if start and "/" not in start.name and size > LARGEST_FROM_SCRATCH:
                size = LARGEST_FROM_SCRATCH
                lines.append(
                    f"preprocess.image_size: auto is {size} pixels and not {found}, for "
                    f"{start.name} starts from scratch, where more cost much and give little; "
                    f"preprocess.image_size={found} takes them."
                )
    like = wanted.resize if wanted else None
    mode = (like.mode if like else "squash") if mode == "auto" else mode
    filtered = (like.interpolation if like else "bilinear") if filtered == "auto" else filtered
    fraction = params.crop_fraction
    if fraction == "auto":  # of another way it would cut something else
        fraction = like.crop_fraction if like and like.mode == mode else 1.0
    result = replace(
        params, image_size=size, resize=mode, interpolation=filtered, crop_fraction=fraction
    )
    if start and wanted:
        taken = f"{size} pixels, {result.how}"
        same = "" if taken == str(wanted) else f"; as preprocess says, it is {taken}"
        lines.append(f"The weights of {start.name} want {wanted}{same}.")
    elif start and float(np.median(np.minimum(width, height))) >= PHOTOGRAPH:
        lines.append(
            "Images of this size are mostly photographs, and model.pretrained is false: `python -m "
            "classifier recipe photos` begins with pretrained weights, which learn them in minutes "
            "(docs/pretrained.md)."
        )
    return result, lines


def automatic_size(width: IntegerArray, height: IntegerArray) -> int:
    """The side in pixels of images that no pretrained weights ask for.

    Images that all have one size keep it (the longer side); otherwise it is the median shorter
    side, rounded up to a multiple of 16, for larger images would gain nothing from enlarging and
    most networks halve the side four times. Never more than 224.
    """
    longer = np.maximum(width, height)
    if (width == width[0]).all() and (height == height[0]).all():
        return int(min(longer[0], LARGEST_AUTO_SIZE))
    median = float(np.median(np.minimum(width, height)))
    return int(min(-(-median // 16) * 16, LARGEST_AUTO_SIZE))


def automatic_channels(modes: "pd.Categorical[str]") -> Literal[1, 3]:
    """1 when every image is grayscale as found, 3 otherwise."""
    gray = {"1", "L", "LA", "La", "LA;16", "F"}
    return 1 if all(mode in gray or mode.startswith("I") for mode in modes.unique()) else 3
