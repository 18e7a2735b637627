"""`folds`: cross-validate."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from classifier.commands.compare import table
from classifier.core.errors import UserError
from classifier.core.files import replacing, write_json
from classifier.core.params import load
from classifier.core.process import run_dir
from classifier.evaluation.tables import write_predictions
from classifier.experiments.folds import out_of_fold_order, pooled, run_missing, spread
from classifier.experiments.overrides import add_changes, check, parse_overrides
from classifier.experiments.recipes import load_recipe
from classifier.experiments.revisions import Predictions, predictions, resolve
from classifier.metrics.bootstrap import Sampling
from classifier.metrics.scoring import EvaluateParams, Scores, score
from classifier.metrics.selective import area_with_interval
from classifier.report.metric_table import LOWER_IS_BETTER

SHOWN = ("accuracy", "loss", "balanced_accuracy", "f1_macro", "mcc", "aurc")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `folds`."""
    parser.add_argument("-k", type=int, default=5, help="how many folds (default 5)")
    add_changes(parser, "change a parameter in every fold")
    parser.add_argument("--recipe", metavar="NAME", help="start from a recipe")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="folds at a time (default 1)")
    parser.add_argument("-n", "--name", help="experiments are NAME-0, NAME-1, … (default foldsK)")
    parser.add_argument(
        "-o", "--output", type=Path, help="folder for the results (default runs/NAME)"
    )
    parser.add_argument("--md", action="store_true", help="print Markdown")


def run(args: argparse.Namespace) -> int:
    """Run the folds as experiments; say the mean, the deviation and the pooled figures."""
    if args.k < 2:
        raise UserError(f"-k is {args.k}: cross-validation needs at least 2 folds.")
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}: give 1 or more.")
    name = args.name or f"folds{args.k}"
    output = args.output or Path("runs") / name
    given = load_recipe(args.recipe).changes if args.recipe else {}
    given |= parse_overrides(args.changes)
    experiments = {
        f"{name}-{fold}": given | {"split.folds": args.k, "split.fold": fold}
        for fold in range(args.k)
    }
    for changes in experiments.values():
        check(changes)
    try:
        run_missing(experiments, args.jobs, run_dir() / "folds", Path())
    except KeyboardInterrupt:
        raise UserError(
            "stopped; run the same command again: folds that are done stay, the others go on."
        ) from None
    params = load("evaluate", EvaluateParams)
    revisions = [resolve(experiment) for experiment in experiments]
    val = [predictions(revision, "val") for revision in revisions]
    test = [predictions(revision, "test") for revision in revisions]
    whole = pooled(val)
    scores = {
        split: [score(part.outcomes, params).values for part in parts]
        for split, parts in (("val", val), ("test", test))
    }
    total = _with_aurc(score(whole.outcomes, params), val, params)
    rows = []
    facts = {}
    for metric in SHOWN:
        figures = {split: spread([v[metric] for v in scores[split]]) for split in scores}
        facts[metric] = {
            "val": [v[metric] for v in scores["val"]],
            "test": [v[metric] for v in scores["test"]],
            "out_of_fold": [total.values[metric], *total.bounds[metric]],
        }
        rows.append(
            [
                metric,
                *(f"{mean:.4f} ± {deviation:.4f}" for mean, deviation in figures.values()),
                total.text(metric),
            ]
        )
    order = out_of_fold_order(whole)
    write_predictions(
        output / "out_of_fold.csv",
        whole.ids[order].tolist(),
        whole.logits[order],
        list(whole.classes),
        whole.labels[order],
    )
    with replacing(output / "out_of_fold_logits.npy") as temporary, temporary.open("wb") as file:
        np.save(file, whole.logits[order])
    names = {"experiments": list(experiments), "classes": list(whole.classes)}
    write_json(output / "folds.json", {**names, "metrics": facts})
    head = [f"{args.k} folds", "validation", "test", "out of fold, pooled"]
    print(table(head, rows, args.md))
    lower = [metric for metric in SHOWN if metric in LOWER_IS_BETTER]
    print(f"\nLower is better: {', '.join(lower)}.")
    print(f"\nPredictions of all {len(whole.ids)} images: {output / 'out_of_fold.csv'}")
    return 0


def _with_aurc(total: Scores, folds: Sequence[Predictions], params: EvaluateParams) -> Scores:
    """Scores of pooled folds, the confidence of each image calibrated as its fold's model is."""
    parts = [part.outcomes for part in folds]
    confidence = np.concatenate([part.calibrated_confidence for part in parts])
    right = np.concatenate([part.right for part in parts])
    sampling = Sampling(params.bootstrap_samples, params.confidence, params.seed)
    value, *ends = area_with_interval(confidence, right, sampling)
    return replace(
        total,
        values={**total.values, "aurc": value},
        bounds={**total.bounds, "aurc": (ends[0], ends[1])},
    )
