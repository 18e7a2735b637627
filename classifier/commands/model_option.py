"""Which model a command means: a file, or what a Git revision or an experiment trained."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.core.errors import UserError
from classifier.models.decision import FILE, Decision, beside, made_for

if TYPE_CHECKING:
    from classifier.experiments.revisions import Revision

MODEL = "models/model.safetensors"
_METRICS = "metrics/evaluate.json"


@dataclass(frozen=True)
class ChosenModel:
    """The file of a model, and the metrics of the run that made it, {} where they are not known.

    ``decision`` is what that run's evaluation chose for the model, None where it chose nothing;
    ``revision`` that run where --rev names one.
    """

    path: Path
    metrics: dict[str, Any]
    name: str
    decision: Decision | None = None
    revision: "Revision | None" = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --model and --rev."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--model", type=Path, metavar="FILE", help=f"model file (default: {MODEL})")
    group.add_argument(
        "--rev", metavar="REV", help="the model of a Git revision, branch, tag or experiment"
    )
    parser.add_argument(
        "--pull", action="store_true", help="with --rev: fetch a model that the cache lacks"
    )


def choose(args: argparse.Namespace) -> ChosenModel:
    """Find the model that the arguments name.

    Raises:
        UserError: there is no such file or revision, or it was not run, or the cache lacks it.
    """
    if args.rev is not None:
        from classifier.experiments.revisions import resolve

        revision = resolve(args.rev, pull=args.pull)
        path = revision.path(MODEL)
        try:
            metrics = revision.json(_METRICS)
        except UserError:  # trained, and not evaluated
            return ChosenModel(path, {}, args.rev, revision=revision)
        return ChosenModel(path, metrics, args.rev, decision_of(revision, path), revision)
    path = args.model or Path(MODEL)
    if not path.is_file():
        advice = "check --model" if args.model else "run dvc repro, or name another with --model"
        raise UserError(f"{path} does not exist: {advice}.")
    # The metrics beside a file somewhere else are not its own.
    beside_it = Path(_METRICS) if args.model in (None, Path(MODEL)) else None
    known = json.loads(beside_it.read_text("utf-8")) if beside_it and beside_it.is_file() else {}
    found = beside(path) if path.suffix == ".safetensors" else None
    return ChosenModel(path, known, str(path), found)


def decision_of(revision: "Revision", model: Path) -> Decision | None:
    """What a revision's evaluation chose for its ``model``, None where it chose nothing."""
    place = f"models/{FILE}"
    if not revision.has(place):  # a run of before there were decisions
        return None
    return made_for(model, revision.json(place), Path(place))
