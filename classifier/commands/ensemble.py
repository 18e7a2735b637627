"""`ensemble`: combine the saved predictions of several revisions or experiments."""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from classifier.commands.compare import table
from classifier.core.errors import UserError
from classifier.core.files import replacing, write_json
from classifier.core.params import load
from classifier.experiments.compare import compare
from classifier.experiments.ensemble import Combination, combine, save_model
from classifier.experiments.revisions import (
    PULL,
    Predictions,
    Revision,
    predictions,
    resolve,
    same_images,
)
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, Scores, score

NAME = "ensemble"
SHOWN = ("accuracy", "loss", "f1_macro", "ece")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ensemble`."""
    parser.add_argument("revisions", nargs="+", metavar="REV", help="two or more to combine")
    parser.add_argument(
        "--method",
        choices=("mean", "weighted", "stacking"),
        default="mean",
        help="mean of the probabilities (default), a mean with weights fitted on validation, or "
        "a logistic regression fitted on validation logits",
    )
    parser.add_argument("--pull", action="store_true", help=PULL)
    parser.add_argument("--md", action="store_true", help="print Markdown")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="also save one model file, say models/ensemble.safetensors, for predict and serve",
    )
    parser.add_argument(
        "--logits", type=Path, metavar="FOLDER", help="also save the combined logits there"
    )


def run(args: argparse.Namespace) -> int:
    """Combine, score on the test images beside each member, and save what is asked for."""
    if len(args.revisions) < 2:
        raise UserError("an ensemble needs two or more revisions: name another.")
    if len(set(args.revisions)) < len(args.revisions):
        raise UserError("a revision is named twice: name each once.")
    if args.model is not None and args.model.suffix != ".safetensors":
        raise UserError(f"--model {args.model}: the name of a model file ends in .safetensors.")
    members = [resolve(name, pull=args.pull) for name in args.revisions]
    test = [predictions(member) for member in members]
    same_images(test)
    val = _validation(members, needed=args.method != "mean")
    combination = combine(args.method, val, len(members))
    combined = [_combined(combination, part) for part in (test, val) if part]

    params = load("evaluate", EvaluateParams)
    parts = [*test, combined[0]]
    scores = [score(Outcomes(part.logits, part.labels), params) for part in parts]
    best = int(np.argmax([found.values["accuracy"] for found in scores[:-1]]))
    (against_best,) = compare([test[best], combined[0]], params)
    facts: dict[str, Any] = {
        "method": args.method,
        "members": args.revisions,
        "test": {
            part.name: {name: [found.values[name], *found.bounds[name]] for name in found.values}
            for part, found in zip(parts, scores, strict=True)
        },
        "best_member": test[best].name,
        "verdict": against_best.verdict,
        "mcnemar_p": against_best.p,
    }
    if args.method == "weighted":
        facts["weights"] = dict(zip(args.revisions, combination.weights.tolist(), strict=True))
    if args.model:
        save_model(
            args.model,
            [member.path("models/model.safetensors") for member in members],
            combination,
            val,
            params,
        )
    if args.logits:
        with replacing(args.logits) as folder:
            folder.mkdir()
            for part in combined:
                np.save(folder / f"{part.split}_logits.npy", part.logits)
            write_json(folder / "ensemble.json", facts)
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        print(_report(facts, dict(zip([*args.revisions, NAME], scores, strict=True)), args.md))
    return 0


def _validation(members: list[Revision], needed: bool) -> list[Predictions]:
    """Validation predictions; [] where a mean can do without, as with models of several folds."""
    try:
        val = [predictions(member, "val") for member in members]
        same_images(val)
    except UserError:
        if needed:
            raise
        return []
    return val


def _combined(combination: Combination, parts: list[Predictions]) -> Predictions:
    logits = combination([part.logits for part in parts])
    return dataclasses.replace(parts[0], name=NAME, params={}, logits=logits, temperature=None)


def _report(facts: Mapping[str, Any], scores: Mapping[str, Scores], markdown: bool) -> str:
    weights = facts.get("weights")
    rows = []
    for name, found in scores.items():
        row = [name, *(found.text(figure) for figure in SHOWN)]
        rows.append([*row, f"{weights[name]:.3f}" if weights and name in weights else ""])
    head = ["test", *SHOWN, "weight"]
    if not weights:
        head, rows = head[:-1], [row[:-1] for row in rows]
    best = facts["best_member"]
    change = scores[NAME].values["accuracy"] - scores[best].values["accuracy"]
    verdict = (
        f"{facts['method']} of {len(scores) - 1} against {best}, the best member: accuracy "
        f"{change:+.4f}, McNemar p = {facts['mcnemar_p']:.4f}, {facts['verdict']}."
    )
    return f"{table(head, rows, markdown)}\n\n{verdict}"
