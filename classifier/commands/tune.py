"""`tune`: search for better parameters."""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.core.errors import UserError
from classifier.core.params import PARAMS_FILE, flatten, read
from classifier.core.process import run_dir
from classifier.experiments.overrides import add_changes, check
from classifier.experiments.recipes import load_recipe
from classifier.experiments.search_space import around, parse_space
from classifier.experiments.tune import (
    Search,
    apply,
    best,
    importances,
    open_study,
    recover,
    run_trials,
    write_trials,
)

if TYPE_CHECKING:
    from optuna import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `tune`."""
    add_changes(
        parser,
        "search key=a,b,…, range(a,b[,step]), interval(a,b) or log(a,b); key=value is the "
        "same in every trial; without any search, train.lr within a decade of its value",
        metavar="key=…",
    )
    parser.add_argument("--recipe", metavar="NAME", help="start from a recipe")
    parser.add_argument(
        "--trials", type=int, default=20, help="how many the study is to have (default 20)"
    )
    parser.add_argument("--study", default="search", help="its name (default search)")
    parser.add_argument(
        "--metric",
        default="val_accuracy",
        help="of validation: a column of metrics/history.csv, or a figure of evaluate, such as "
        "val_aurc, without early stops (default val_accuracy)",
    )
    parser.add_argument(
        "--storage",
        help="database URL or journal file for several workers (default: a journal in .run/)",
    )
    parser.add_argument("--no-prune", action="store_true", help="let every trial run to its end")
    parser.add_argument("--seed", type=int, default=0, help="of the search (default 0)")
    parser.add_argument(
        "--apply", action="store_true", help="bring the best trial into the workspace at the end"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="folder for table and figures (default runs/STUDY)"
    )


def run(args: argparse.Namespace) -> int:
    """Search, then say what was found; the same command goes on where it was left."""
    if args.trials < 0:
        raise UserError(f"--trials is {args.trials}: give 0 (only report) or more.")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", args.study):
        raise UserError(f"--study {args.study}: use letters, digits, - and _ alone.")
    if not args.metric.startswith("val_"):
        raise UserError(
            f"--metric {args.metric}: a search looks at validation alone, say val_accuracy or "
            "val_loss, for the test set to stay unseen."
        )
    search = _search(args)
    search.check()
    epochs = flatten(read()) | dict(search.fixed)
    storage = args.storage or str(run_dir() / "tune" / f"{args.study}.journal")
    study = open_study(search, storage, not args.no_prune, int(epochs["train.epochs"]))
    from optuna.exceptions import StorageInternalError

    def say(line: str) -> None:
        found = best(study)
        tail = f"; best {found.value:.4f} of trial {found.number}" if found else ""
        print(f"{line}{tail}", file=sys.stderr)

    try:
        log = run_dir() / "tune" / args.study
        recover(study, search, log, say)
        run_trials(study, search, args.trials, log, say)
    except KeyboardInterrupt:
        raise UserError("stopped; run the same command again to go on.") from None
    except StorageInternalError as error:
        reason = str(error.__cause__ or error).splitlines()[0].rstrip(".")
        raise UserError(
            f"the study's database does not answer ({reason}): run the same command again to go on."
        ) from None
    _report(study, search, args.output or Path("runs") / args.study)
    found = best(study)
    if found is None:
        raise UserError("no trial has finished yet: run more with --trials.")
    changes: dict[str, Any] = {
        axis.key: axis.value(found.params[axis.key])
        for axis in search.axes
        if axis.key in found.params
    }
    name = search.experiment(found.number)
    print(f"best: {name}, {search.metric} {found.value:.4f}")
    for key, value in changes.items():
        print(f"  {key} = {value}")
    if args.apply:
        apply(search, found.number)
        print(f"applied {name} to the workspace: git commit keeps it")
    else:
        print(f"dvc exp apply {shlex.quote(name)} brings it into the workspace")
    return 0


def _search(args: argparse.Namespace) -> Search:
    fixed = load_recipe(args.recipe).changes if args.recipe else {}
    axes, plain = parse_space(args.changes)
    fixed |= plain
    check(fixed)
    axes = axes or [around(flatten(read(PARAMS_FILE)) | fixed)]
    searched = {axis.key for axis in axes}
    fixed = {key: value for key, value in fixed.items() if key not in searched}
    return Search(args.study, axes, fixed, args.metric, args.seed, Path())


def _report(study: "Study", search: Search, output: Path) -> None:
    from optuna.trial import TrialState

    from classifier.experiments.figures import search_history, search_importance
    from classifier.report.figures.style import save

    write_trials(output / "trials.csv", study, search)
    trials = study.get_trials(deepcopy=False)
    finished = [
        (t.number, float(t.value))
        for t in trials
        if t.state == TrialState.COMPLETE and t.value is not None
    ]
    stopped = [t.number for t in trials if t.state == TrialState.PRUNED]
    if finished:
        figure = search_history(finished, stopped, search.metric, search.lower)
        save(figure, output / "history.png")
    if fractions := importances(study):
        save(search_importance(fractions), output / "importance.png")
    print(f"{len(finished)} trials finished, {len(stopped)} stopped early: {output}/trials.csv")
