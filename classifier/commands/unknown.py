"""`unknown`: how well the model tells images of no class from those of its classes."""

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args

import numpy as np

from classifier.commands import model_option
from classifier.core.errors import UserError
from classifier.core.types import BoolArray, Float64Array, FloatArray
from classifier.core.wording import printable
from classifier.inference.inputs import InputImage, images
from classifier.models.decision import NONE_OF_THESE, Decision, KnownBy

if TYPE_CHECKING:
    from classifier.experiments.revisions import Revision
    from classifier.inference.torch_backend import TorchPredictor

Scores = Mapping[str, Float64Array]

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
        "--store",
        type=Path,
        metavar="FILE",
        help="write a copy of the model that answers none of these to what is not accepted",
    )
    parser.add_argument(
        "--by",
        choices=get_args(KnownBy),
        help="with --store: the score that tells (default: the one with the highest AUROC)",
    )
    parser.add_argument(
        "--rev", metavar="REV", help="a Git revision, branch, tag or experiment that was run"
    )
    parser.add_argument(
        "--pull", action="store_true", help="with --rev: fetch what the cache lacks"
    )


def run(args: argparse.Namespace) -> int:
    """Compare the images with the saved answers about the test split; 1 if one was skipped."""
    from classifier.experiments.revisions import WORKSPACE, resolve

    if not 0 < args.accept < 1:
        raise UserError(f"--accept {args.accept}: give a fraction between 0 and 1, such as 0.95.")
    if args.by and not args.store:
        raise UserError("--by is for --store: name the file to write, too.")
    found = images(args.paths)
    first = next(found)  # a wrong path is known before the network is loaded
    revision = resolve(args.rev or WORKSPACE, pull=args.pull)
    path = revision.path(model_option.MODEL)
    if args.store and args.store.suffix != ".safetensors":
        raise UserError(f"--store {args.store}: the name of a model file ends in .safetensors.")
    if args.store and args.store.resolve() == path.resolve():
        raise UserError(f"--store {args.store} is the model itself: name another file.")

    from classifier.inference.torch_backend import TorchPredictor
    from classifier.metrics.unknown import separation

    predictor = TorchPredictor(path)
    decision = model_option.decision_of(revision, path) or Decision()
    kept = _kept(revision, predictor)
    judge = _Judge(predictor, decision, kept.get("train"))
    val, test = (judge.seen(kept[f"{split}_logits"], kept[split]) for split in ("val", "test"))
    strange, skipped = judge.of_images(chain([first], found))
    measured = separation(val.scores, test.scores, strange.scores, args.accept)
    by = cast("KnownBy", args.by or next(iter(measured)))
    if by not in measured:
        raise UserError(f"--by {by}: the saved answers do not tell it: leave --by out.")
    count = len(strange.sure)
    print(f"{count:,} images of no class, {len(test.sure):,} test images of a class.")
    print(
        f"Accepted: as many as {args.accept:.1%} of the validation images are by the same score.\n"
    )
    rows = [
        [name, f"{one.auroc:.4f} ({one.low:.4f} to {one.high:.4f})", *_cells(*one.accepted)]
        for name, one in measured.items()
    ]
    _print_table(["AUROC"], rows)
    if decision.not_sure_below:
        _print_unsure(val, test, strange, decision)
    if args.store:
        rule = replace(decision, known_by=by, known_from=measured[by].accepted.least)
        _store(args.store, predictor, rule, judge.reference if by == "distance" else None)
    if skipped:
        print(f"{skipped:,} of {count + skipped:,} images were skipped.", file=sys.stderr)
    return 1 if skipped else 0


class _Seen(NamedTuple):
    """Of N images: the scores by name, [N] each, and whether the model is sure, [N]."""

    scores: Scores
    sure: BoolArray


@dataclass(frozen=True)
class _Judge:
    """A model, its decision, and the training embeddings [M, D] that distances are to, if any."""

    predictor: "TorchPredictor"
    decision: Decision
    reference: FloatArray | None

    def seen(self, logits: FloatArray, embeddings: FloatArray) -> _Seen:
        """What follows from logits [N, K] and embeddings [N, D] of `neighbors.unit`."""
        from classifier.core.softmax import softmax
        from classifier.metrics.stored_logits import WHOLE_CLASSES
        from classifier.metrics.unknown import known_scores

        spec = self.predictor.spec
        scores = known_scores(logits, spec.temperature, embeddings, self.reference)
        if len(spec.classes) > WHOLE_CLASSES:
            del scores["energy"]  # stored logits have lost what it is made of
        probabilities = softmax(np.asarray(logits, np.float64), spec.temperature)
        return _Seen(scores, self.decision.answers(probabilities, spec.classes).sure)

    def of_images(self, found: Iterable[InputImage]) -> tuple[_Seen, int]:
        """The same of images that the network is shown now, and how many of them were skipped."""
        from classifier.inference.embed import look
        from classifier.metrics.neighbors import unit

        seen, skipped = [], 0
        for one in look(self.predictor, found):
            if one.logits is None or one.embedding is None:
                skipped += 1
                print(printable(f"{one.image.name}: skipped, {one.problem}"), file=sys.stderr)
            else:
                seen.append((one.logits, one.embedding))
        if not seen:
            raise UserError("None of the images could be read.")
        logits, embeddings = (np.stack(part) for part in zip(*seen, strict=True))
        return self.seen(logits, unit(embeddings)), skipped


def _kept(revision: "Revision", predictor: "TorchPredictor") -> dict[str, Any]:
    """What `evaluate` kept: logits and embeddings of val and test, and embeddings of train, as
    many as a model file may hold.

    Raises:
        UserError: they are of another model, or of answers that the model does not give.
    """
    from classifier.core.files import sha256
    from classifier.models.known import most_held

    with revision.whole("data/predictions/embeddings.npz") as file, np.load(file) as saved:
        kept = dict(saved)
    if str(kept["model"]) != sha256(predictor.path):
        raise UserError(
            f"data/predictions of {revision.name} is of another model: run dvc repro evaluate."
        )
    if "val" not in kept:
        raise UserError("There are no validation images: set split.val_fraction above 0.")
    augments = predictor.network.test_time_augmentation != "none"
    if augments and not revision.params.get("evaluate.test_time_augmentation", True):
        raise UserError(
            "evaluate.test_time_augmentation is false, and the model answers with it: set it to "
            "true, and run dvc repro evaluate."
        )
    for split in ("val", "test"):
        with revision.whole(f"data/predictions/{split}_logits.npy") as file:
            kept[f"{split}_logits"] = np.load(file)[kept[f"{split}_rows"]]
    if "train" in kept:
        count, width = kept["train"].shape
        chosen = np.random.default_rng(0).permutation(count)[: most_held(width)]
        kept["train"] = kept["train"][np.sort(chosen)]
    return kept


def _print_unsure(val: _Seen, test: _Seen, strange: _Seen, decision: Decision) -> None:
    """The same figures where the *not sure* threshold says how many are accepted."""
    from classifier.metrics.unknown import Accepted, accepted

    coverage = float(val.sure.mean())
    print(
        f"\nAccepted: as many as are not *not sure*, below {decision.not_sure_below:.6g}, which is "
        f"{coverage:.1%} of the validation images.\n"
    )
    found = {
        name: accepted(scores, test.scores[name], strange.scores[name], coverage)
        for name, scores in val.scores.items()
    }
    answered = (float(part.sure.mean()) for part in (test, strange))
    found["probability"] = Accepted(decision.not_sure_below, *answered)
    rows = [[name, *_cells(*one)] for name, one in found.items()]
    _print_table([], sorted(rows, key=lambda row: found[row[0]].unknown))


def _cells(least: float, known: float, unknown: float) -> list[str]:
    return [f"{known:.1%}", f"{unknown:.1%}", f"{least:.6g}"]


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    from tabulate import tabulate

    headers = ["told by", *columns, "accepted: test", "of no class", "from"]
    table = [[_TEXTS[name], *cells] for name, *cells in rows]
    print(tabulate(table, headers, disable_numparse=True))


def _store(
    path: Path, predictor: "TorchPredictor", rule: Decision, reference: FloatArray | None
) -> None:
    """Write the model with a rule, and the embeddings [M, D] that its distances are to."""
    import torch

    from classifier.models import model_file
    from classifier.models.known import hold_reference

    spec, held = predictor.spec, ""
    if NONE_OF_THESE in spec.classes:
        raise UserError(
            f"A class is called {NONE_OF_THESE!r}, as is the answer for images of no class: rename "
            "it first."
        )
    if reference is not None:
        hold_reference(predictor.network, torch.from_numpy(reference))
        rule = replace(rule, known_images=len(reference))
        held = (
            f", {reference.nbytes / 1e6:.2f} MB of it the embeddings of {len(reference):,} "
            "training images"
        )
    model_file.save(path, predictor.network, replace(spec, decision=rule))
    print(
        f"\n{path}: {path.stat().st_size / 1e6:.2f} MB{held}. It answers {NONE_OF_THESE} by "
        f"{_TEXTS[str(rule.known_by)]}, below {rule.known_from:.6g}."
    )
