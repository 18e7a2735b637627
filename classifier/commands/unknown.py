"""`unknown`: how well the model tells images of no class from those of its classes."""

import argparse
import sys
from itertools import chain

import numpy as np

from classifier.commands import model_option
from classifier.core.errors import UserError
from classifier.core.wording import printable
from classifier.inference.inputs import images

_TEXTS = {
    "probability": "the highest probability",
    "energy": "the energy of the logits",
    "distance": "the distance to the nearest training image",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `unknown`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="images that belong to none of the classes: files, folders, patterns or tables",
    )
    parser.add_argument(
        "--accept",
        type=float,
        metavar="FRACTION",
        default=0.95,
        help="of validation images that are to be accepted (default: 0.95)",
    )
    parser.add_argument(
        "--rev", metavar="REV", help="a Git revision, branch, tag or experiment that was run"
    )
    parser.add_argument(
        "--pull", action="store_true", help="with --rev: fetch what the cache lacks"
    )


def run(args: argparse.Namespace) -> int:
    """Compare the images with the saved answers about the test split; 1 if one was skipped."""
    from tabulate import tabulate

    from classifier.experiments.revisions import WORKSPACE, resolve

    if not 0 < args.accept < 1:
        raise UserError(f"--accept {args.accept}: give a fraction between 0 and 1, such as 0.95.")
    found = images(args.paths)
    first = next(found)  # a wrong path is known before the network is loaded
    revision = resolve(args.rev or WORKSPACE, pull=args.pull)
    path = revision.path(model_option.MODEL)

    from classifier.core.files import sha256
    from classifier.inference.embed import look
    from classifier.inference.torch_backend import TorchPredictor
    from classifier.metrics.neighbors import unit
    from classifier.metrics.stored_logits import WHOLE_CLASSES
    from classifier.metrics.unknown import known_scores, separation

    predictor = TorchPredictor(path)
    with revision.whole("data/predictions/embeddings.npz") as file, np.load(file) as saved:
        kept = dict(saved)
    if str(kept["model"]) != sha256(path):
        raise UserError(
            f"data/predictions of {revision.name} is of another model: run dvc repro evaluate."
        )
    reference = kept.get("train")

    def scores(split: str) -> dict[str, np.ndarray]:
        with revision.whole(f"data/predictions/{split}_logits.npy") as file:
            logits = np.load(file)[kept[f"{split}_rows"]]
        return known_scores(logits, temperature, kept[split], reference)

    if "val" not in kept:
        raise UserError("There are no validation images: set split.val_fraction above 0.")
    temperature = predictor.spec.temperature
    seen, skipped = [], 0
    for one in look(predictor, chain([first], found)):
        if one.logits is None or one.embedding is None:
            skipped += 1
            print(printable(f"{one.image.name}: skipped, {one.problem}"), file=sys.stderr)
        else:
            seen.append((one.logits, one.embedding))
    if not seen:
        raise UserError("None of the images could be read.")
    logits, embeddings = (np.stack(part) for part in zip(*seen, strict=True))
    strange = known_scores(logits, temperature, unit(embeddings), reference)
    val, test = scores("val"), scores("test")
    if len(predictor.spec.classes) > WHOLE_CLASSES:
        # Their stored logits have lost what the energy is made of.
        for part in (val, test, strange):
            del part["energy"]
    table = [
        [
            _TEXTS[name],
            f"{one.auroc:.4f} ({one.low:.4f} to {one.high:.4f})",
            f"{one.accepted_known:.1%}",
            f"{one.accepted_unknown:.1%}",
            f"{one.least:.6g}",
        ]
        for name, one in separation(val, test, strange, args.accept).items()
    ]
    print(f"{len(seen):,} images of no class, {len(test['probability']):,} test images of a class.")
    print(
        f"Accepted: as many as {args.accept:.1%} of the validation images are by the same score.\n"
    )
    headers = ["told by", "AUROC", "accepted: test", "of no class", "from"]
    print(tabulate(table, headers, disable_numparse=True))
    if skipped:
        print(f"{skipped:,} of {len(seen) + skipped:,} images were skipped.", file=sys.stderr)
    return 1 if skipped else 0
