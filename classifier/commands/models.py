"""`models`: which networks there are, and what each costs."""

import argparse
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from tabulate import tabulate

from classifier.core.errors import UserError, suggestion
from classifier.core.files import read_json
from classifier.models.registry import (
    COMPUTES,
    NETWORKS,
    TIMM,
    TORCHVISION,
    ModelParams,
    build,
    names,
)
from classifier.models.summary import summary

META = Path("data/prepared/meta.json")
COSTS = 40  # networks of a library, at most, of which the costs are counted
_DIGITS = {"classes": 10, "channels": 1, "image_size": 8}  # what the project starts with


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `models`; sizes default to those of the prepared data."""
    parser.add_argument(
        "filter", nargs="?", help="part of a name, or a pattern such as 'timm/vit_small*'"
    )
    parser.add_argument("--torchvision", action="store_true", help="list its networks alone")
    parser.add_argument("--timm", action="store_true", help="list its networks alone")
    parser.add_argument("--classes", type=int, help="number of classes")
    parser.add_argument("--channels", type=int, choices=(1, 3), help="1 (gray) or 3 (color)")
    parser.add_argument("--image-size", type=int, help="side of the images in pixels")


def run(args: argparse.Namespace) -> int:
    """Print names, and what each of a few networks costs."""
    facts = dict(_DIGITS)
    if META.exists():
        meta = read_json(META, "preprocess")
        facts = {key: meta[key] for key in facts} | {"classes": len(meta["classes"])}
    facts |= {key: getattr(args, key) for key in facts if getattr(args, key) is not None}
    for key in ("classes", "image_size"):
        if facts[key] < 1:
            raise UserError(f"--{key.replace('_', '-')}: {facts[key]} is less than 1")

    chosen = {TORCHVISION: args.torchvision, TIMM: args.timm}
    libraries = [library for library, wanted in chosen.items() if wanted]
    if not libraries and not args.filter:
        print(costs(list(NETWORKS), **facts))
        print("Besides, torchvision/NAME and timm/NAME are any classification network of these.")
        print("List them by --torchvision, --timm, or a part of their names.")
        return 0
    known = [name for library in libraries or chosen for name in names(library)]
    known = known if libraries else [*NETWORKS, *known]
    found = matching(known, args.filter) if args.filter else known
    if len(found) <= COSTS:
        print(costs(found, **facts))
    else:
        print(*found, sep="\n")
        print(f"{len(found)} networks. What they cost is said of {COSTS} at most: give a part of")
        print("their names, or a pattern.")
    return 0


def matching(known: Sequence[str], part: str) -> list[str]:
    """The names that contain ``part``, or that are like it where it is a pattern with * ? [ ].

    Raises:
        UserError: there are none.
    """
    pattern = part if set(part) & set("*?[") else f"*{part}*"
    found = [name for name in known if fnmatchcase(name, pattern)]
    found = found or [name for name in known if fnmatchcase(name.rpartition("/")[2], pattern)]
    if not found:
        raise UserError(f"{part!r}: no network is called so{suggestion(part, known)}")
    return found


def costs(found: Sequence[str], classes: int, channels: int, image_size: int) -> str:
    """A table of each network's cost with its default settings, for images of this size.

    Returns:
        lines with name, parameters, multiply-adds for one image, and the image sizes it takes.
    """
    rows = [_row(name, classes, channels, image_size) for name in found]
    head = ("name", "parameters", "multiply-adds", "images")
    align = ("left", "right", "right", "left")
    table = tabulate(rows, head, "plain", colalign=align, disable_numparse=True)
    return f"{table}\n\nFor {classes} classes and {channels}×{image_size}×{image_size} images."


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
