"""`models`: which networks there are, and what each costs."""

import argparse
import re
from pathlib import Path

import torch
from tabulate import tabulate

from classifier.core.errors import UserError
from classifier.core.files import read_json
from classifier.models.networks.torchvision import torchvision_names
from classifier.models.registry import COMPUTES, NETWORKS, TORCHVISION, ModelParams, build
from classifier.models.summary import summary

META = Path("data/prepared/meta.json")
_DIGITS = {"classes": 10, "channels": 1, "image_size": 8}  # what the project starts with


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `models`; sizes default to those of the prepared data."""
    parser.add_argument("--torchvision", action="store_true", help="list its networks too (slow)")
    parser.add_argument("--classes", type=int, help="number of classes")
    parser.add_argument("--channels", type=int, choices=(1, 3), help="1 (gray) or 3 (color)")
    parser.add_argument("--image-size", type=int, help="side of the images in pixels")


def run(args: argparse.Namespace) -> int:
    """Print the table of networks."""
    facts = dict(_DIGITS)
    if META.exists():
        meta = read_json(META, "preprocess")
        facts = {key: meta[key] for key in facts} | {"classes": len(meta["classes"])}
    facts |= {key: getattr(args, key) for key in facts if getattr(args, key) is not None}
    for key in ("classes", "image_size"):
        if facts[key] < 1:
            raise UserError(f"--{key.replace('_', '-')}: {facts[key]} is less than 1")

    print(list_models(**facts, torchvision=args.torchvision))
    return 0


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
    rows = [_row(name, classes, channels, image_size) for name in names]
    head = ("name", "parameters", "multiply-adds", "images")
    align = ("left", "right", "right", "left")
    lines = [tabulate(rows, head, "plain", colalign=align, disable_numparse=True), ""]
    lines.append(f"For {classes} classes and {channels}×{image_size}×{image_size} images.")
    if not torchvision:
        lines.append(f"Besides, {TORCHVISION}NAME is any classification network of torchvision.")
    return "\n".join(lines)


def _row(name: str, classes: int, channels: int, image_size: int) -> tuple[str, str, str, str]:
    try:
        # Nothing is computed on `meta`, so that the largest network is counted in no time.
        with torch.device("cpu" if name.startswith(COMPUTES) else "meta"):
            args, sizes = ModelParams(name=name).args(), {"classes": classes, "channels": channels}
            network = build(name, args, **sizes, image_size=image_size)
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
