"""`models`: which networks there are, and what each costs."""

import argparse
from pathlib import Path

from classifier.errors import UserError
from classifier.files import read_json

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
        meta = read_json(META)
        facts = {key: meta[key] for key in facts} | {"classes": len(meta["classes"])}
    facts |= {key: getattr(args, key) for key in facts if getattr(args, key) is not None}
    for key in ("classes", "image_size"):
        if facts[key] < 1:
            raise UserError(f"--{key.replace('_', '-')}: {facts[key]} is less than 1")

    from classifier.model_listing import list_models

    print(list_models(**facts, torchvision=args.torchvision))
    return 0
