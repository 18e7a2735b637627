"""`compare`: is one revision or experiment better than another?"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from classifier.core.errors import UserError
from classifier.core.params import load
from classifier.core.wording import first, printable
from classifier.experiments.compare import Comparison, compare
from classifier.experiments.corrected import corrections, differing_rows, judged_alike
from classifier.experiments.revisions import PULL, WORKSPACE, predictions, resolve
from classifier.metrics.scoring import EvaluateParams
from classifier.report.metric_table import LOWER_IS_BETTER


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `compare`."""
    parser.add_argument(
        "revisions",
        nargs="*",
        metavar="REV",
        help="commits, branches, tags, experiments, or folders of other clones; each is compared "
        "with the first; one is compared with the workspace, none means HEAD",
    )
    parser.add_argument("--pull", action="store_true", help=PULL)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--md", action="store_true", help="print Markdown, for a pull request")
    form.add_argument("--json", action="store_true", help="print JSON, with the ids of all images")
    parser.add_argument(
        "--top", type=int, default=5, help="how many classes and images to name (default 5)"
    )


def run(args: argparse.Namespace) -> int:
    """Compare saved predictions; no network is run and nothing is checked out."""
    if args.top < 0:
        raise UserError(f"--top is {args.top}: give 0 or more.")
    names = args.revisions or ["HEAD"]
    names = [*names, WORKSPACE] if len(names) == 1 else names
    if len(set(names)) < len(names):
        raise UserError("a revision is named twice: name each once.")
    found = [resolve(name, pull=args.pull) for name in names]
    tables = [corrections(part) for part in found]
    parts, told = judged_alike([predictions(part) for part in found], tables)
    for line in filter(None, (differing_rows(names, tables), told)):
        print(line, file=sys.stderr if args.json else sys.stdout, end="\n\n")
    comparisons = compare(parts, load("evaluate", EvaluateParams))
    if args.json:
        print(json.dumps([_plain(item) for item in comparisons], indent=2, ensure_ascii=False))
        return 0
    sections = [_section(item, args.top, args.md, len(comparisons)) for item in comparisons]
    if len(comparisons) > 1:
        sections.insert(0, _overview(comparisons, args.md))
    print("\n\n".join(sections))
    return 0


def _overview(comparisons: Sequence[Comparison], markdown: bool) -> str:
    base = comparisons[0].base
    rows = [[base, _number(comparisons[0].metrics["accuracy"].base), "", "", "", ""]]
    for item in comparisons:
        accuracy = item.metrics["accuracy"]
        rows.append(
            [
                item.other,
                _number(accuracy.other),
                _signed(accuracy.change),
                f"{_signed(accuracy.low)} to {_signed(accuracy.high)}",
                _p(item.corrected),
                item.verdict,
            ]
        )
    head = ["", "accuracy", f"against {base}", _level(comparisons[0]), "p (Holm)", "verdict"]
    return table(head, rows, markdown)


def _section(item: Comparison, top: int, markdown: bool, number: int) -> str:
    title = f"{item.other} against {item.base}: {item.verdict}"
    correction = f", {_p(item.corrected)} after Holm's correction" if number > 1 else ""
    says = (
        f"{item.images} test images, {len(item.fixed)} fixed and {len(item.broken)} broken; "
        f"McNemar p = {_p(item.p)}{correction}."
    )
    rows = []
    for name, figure in item.metrics.items():
        arrow = ""
        if figure.low > 0 or figure.high < 0:
            arrow = "better" if (figure.change > 0) != (name in LOWER_IS_BETTER) else "worse"
        interval = f"{_signed(figure.low)} to {_signed(figure.high)}"
        values = [_number(figure.base), _number(figure.other), _signed(figure.change)]
        rows.append([name, *values, interval, arrow])
    head = ["metric", item.base, item.other, "change", _level(item), ""]
    parts = [f"## {title}" if markdown else title, says, table(head, rows, markdown)]
    parts += _lists(item, top, markdown)
    return "\n\n".join(parts)


def _lists(item: Comparison, top: int, markdown: bool) -> list[str]:
    parts = []
    moved = {name: b - a for name, (a, b) in item.classes.items() if b != a and a == a}
    gains = sorted((name for name in moved if moved[name] > 0), key=lambda name: -moved[name])
    losses = sorted((name for name in moved if moved[name] < 0), key=lambda name: moved[name])
    rows = [
        [name, _number(item.classes[name][0]), _number(item.classes[name][1]), _signed(moved[name])]
        for name in (*gains[:top], *losses[:top][::-1])
    ]
    if rows:
        head = ["class (recall)", item.base, item.other, "change"]
        parts.append(table(head, rows, markdown))
    changed = [[key, _value(a), _value(b)] for key, (a, b) in item.params.items()]
    if changed:
        parts.append(table(["parameter", item.base, item.other], changed, markdown))
    else:
        parts.append("No parameter differs.")
    for word, ids in (("fixed", item.fixed), ("broken", item.broken)):
        if ids and top:
            more = " (--json lists all)" if len(ids) > top else ""
            parts.append(f"{word}: {first(ids, top)}{more}")
    return parts


def table(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> str:
    """A table with aligned columns, as Markdown or plain."""
    head, *rows = [[printable(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    return tabulate(rows, head, "github" if markdown else "plain", disable_numparse=True)


def _plain(item: Comparison) -> dict[str, Any]:
    """A comparison as JSON values; null where a figure is not defined."""
    return {
        "base": item.base,
        "other": item.other,
        "verdict": item.verdict,
        "images": item.images,
        "confidence": item.confidence,
        "mcnemar_p": item.p,
        "mcnemar_p_holm": item.corrected,
        "metrics": {
            name: {
                "base": _finite(figure.base),
                "other": _finite(figure.other),
                "change": _finite(figure.change),
                "low": _finite(figure.low),
                "high": _finite(figure.high),
            }
            for name, figure in item.metrics.items()
        },
        "class_recall": {name: [*map(_finite, pair)] for name, pair in item.classes.items()},
        "fixed": item.fixed,
        "broken": item.broken,
        "params": item.params,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _level(item: Comparison) -> str:
    return f"{item.confidence:.0%} interval"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _value(value: Any) -> str:
    return "—" if value is None else str(value)
