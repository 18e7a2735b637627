"""`runs`: the experiments on a commit, a line each."""

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from classifier.core.csv_files import guarded
from classifier.core.errors import UserError, suggestion
from classifier.core.params import flatten, load
from classifier.core.wording import counted, printable
from classifier.experiments.runs import Run, runs
from classifier.metrics.scoring import EvaluateParams
from classifier.report.metric_table import LOWER_IS_BETTER

NARROW = 80  # columns that the table fits in, where no terminal tells its width
LEAST = 12  # columns of what changed, however long the names are


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `runs`."""
    parser.add_argument(
        "baseline",
        nargs="?",
        default="HEAD",
        metavar="REV",
        help="what they are judged against: the commit that they started from, or one of the"
        " experiments on HEAD (default HEAD)",
    )
    parser.add_argument(
        "--sort",
        metavar="KEY",
        help="a metric or parameter, best or lowest first (default: newest)",
    )
    parser.add_argument("--csv", action="store_true", help="print all of it as CSV")


def run(args: argparse.Namespace) -> int:
    """Print the table; nothing is run."""
    confidence = load("evaluate", EvaluateParams).confidence
    base, *others = runs(args.baseline, confidence)
    if args.sort:
        others = _sorted(others, args.sort)
    if args.csv:
        _write_csv([base, *others])
        return 0
    width = shutil.get_terminal_size((NARROW, 24)).columns
    print(_table([base, *others], max(width, NARROW)))
    if not others:
        print(f"\nNo experiment started from {args.baseline} yet: dvc exp run -S train.lr=0.001")
    elif any(one.p is not None for one in others):
        made = sum(one.p is not None for one in others)
        print(
            f"\nVerdicts: McNemar's test of the same test images against {args.baseline}, at"
            f" {confidence:.0%},\nafter Holm's correction for"
            f" {counted(made, 'comparison', 'comparisons')}. `compare` says more."
        )
    return 0


def _sorted(found: Sequence[Run], key: str) -> list[Run]:
    values = {one.name: flatten({**one.metrics}) | dict(one.params) for one in found}
    known = {name for of_run in values.values() for name in of_run}
    if found and key not in known:
        raise UserError(f"--sort {key}: no run has it{suggestion(key, known)}.")
    lower = key.removeprefix("test_") in LOWER_IS_BETTER
    sign = 1 if lower or any(key in one.params for one in found) else -1

    def rank(one: Run) -> tuple[bool, bool, Any]:
        value = values[one.name].get(key)
        if isinstance(value, int | float):
            return False, False, sign * value
        return value is None, True, str(value)

    return sorted(found, key=rank)


def _table(found: Sequence[Run], width: int) -> str:
    rows = [[one.name, _accuracy(one), one.verdict] for one in found]
    head = ["", "accuracy", "verdict", "changed"]
    # tabulate gives a column two more than its head takes.
    wide = [f"{name}  " for name in head]
    taken = [max(len(cell) for cell in column) for column in zip(wide, *rows, strict=False)]
    longest = max(LEAST, width - sum(taken[1:]) - 6 - LEAST)
    names = [_cut(printable(row[0]), longest) for row in rows]
    left = max(LEAST, width - max(map(len, names)) - sum(taken[1:]) - 6)
    cells = [
        [name, *row[1:], _cut(_changes(one), left)]
        for name, row, one in zip(names, rows, found, strict=True)
    ]
    return tabulate(cells, head, "plain", disable_numparse=True)


def _accuracy(one: Run) -> str:
    if "test_accuracy" not in one.metrics:
        return "—"
    ends = one.metrics.get("test_accuracy_interval")
    interval = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    return f"{one.metrics['test_accuracy']:.4f}{interval}"


def _changes(one: Run) -> str:
    return printable(", ".join(f"{key}={_value(value)}" for key, value in one.params.items()))


def _value(value: Any) -> str:
    return "null" if value is None else str(value)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _write_csv(found: Sequence[Run]) -> None:
    metrics = list(dict.fromkeys(key for one in found for key in flatten({**one.metrics})))
    params = sorted({key for one in found for key in one.params})
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["name", "made", "verdict", "p", *metrics, *params])
    for one in found:
        values = flatten({**one.metrics})
        made = one.made.isoformat(timespec="seconds") if one.made else ""
        cells = [one.name, made, one.verdict, one.p]
        cells += [values.get(key) for key in metrics]
        cells += [_value(one.params[key]) if key in one.params else None for key in params]
        table.writerow("" if cell is None else guarded(str(cell)) for cell in cells)
