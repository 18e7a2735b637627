"""The table of networks behind ``python -m classifier models``."""

import re
from collections.abc import Sequence

import torch

from classifier.errors import UserError
from classifier.model_summary import summary
from classifier.models import NETWORKS, TORCHVISION, ModelParams, build
from classifier.models.torchvision_nets import torchvision_names

# Networks that compute with tensors while they are built, which `meta` cannot.
_NEEDS_CPU = f"{TORCHVISION}regnet"


def list_models(classes: int, channels: int, image_size: int, torchvision: bool = False) -> str:
    """A table of each network's cost with its default settings, for images of this size.

    Args:
        torchvision: list its networks too, which takes a minute or so.

    Returns:
        lines with name, parameters, multiply-adds for one image, and the image sizes it takes.
    """
    names = list(NETWORKS)
    if torchvision:
        names += [TORCHVISION + name for name in torchvision_names()]
    rows = [("name", "parameters", "multiply-adds", "images")]
    rows += [_row(name, classes, channels, image_size) for name in names]
    lines = _aligned(rows)
    lines.append("")
    lines.append(f"For {classes} classes and {channels}×{image_size}×{image_size} images.")
    if not torchvision:
        lines.append(f"Besides, {TORCHVISION}NAME is any classification network of torchvision.")
    return "\n".join(lines)


def _row(name: str, classes: int, channels: int, image_size: int) -> tuple[str, str, str, str]:
    try:
        # Nothing is computed on `meta`, so that the largest network is counted in no time.
        with torch.device("cpu" if name.startswith(_NEEDS_CPU) else "meta"):
            network = build(
                name,
                ModelParams(name=name).args(),
                classes=classes,
                channels=channels,
                image_size=image_size,
            )
    except UserError as error:
        needed = re.search(r"input_size: (\d+)", str(error))
        return name, "-", "-", f"at least {needed[1]}×{needed[1]}" if needed else "larger"
    counts = summary(name, network.to("meta"), channels, image_size)
    least = NETWORKS[name].smallest if name in NETWORKS else None
    taken = f"from {least}×{least}" if least else f"{image_size}×{image_size}"
    return name, f"{counts['parameters']:,}", short(counts["multiply_adds"]), taken


def short(number: float) -> str:
    """Three significant digits with a unit: 1814073344 -> "1.81 G"."""
    for unit in ("", " k", " M", " G", " T"):
        if number < 999.5 or unit == " T":
            return f"{number:.3g}{unit}"
        number /= 1000
    raise AssertionError


def _aligned(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        f"{name:<{widths[0]}}  {parameters:>{widths[1]}}  {products:>{widths[2]}}  {images}"
        for name, parameters, products, images in rows
    ]
