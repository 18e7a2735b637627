"""How well each class does: F1, precision and recall, with intervals where they are known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from classifier.figures import style

MOST = 100  # classes: beyond it only the weakest are drawn


def scores(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw one bar a class, weakest first.

    Each row holds ``class`` (str), ``precision``, ``recall`` and ``f1`` (0..1) and may hold
    ``f1_low`` and ``f1_high``, the interval of F1.
    """
    rows = sorted(rows, key=lambda row: (_number(row["f1"]), str(row["class"])))[:MOST]
    many = len(rows) > 25
    step = 0.15 if many else 0.3
    figure = style.new_figure(height=1.3 + step * len(rows))
    axes = figure.subplots()
    places = np.arange(len(rows))
    f1 = np.array([_number(row["f1"]) for row in rows])
    axes.barh(places, f1, height=0.72, color="#A9CBE3", label="F1")
    if all("f1_low" in row and "f1_high" in row for row in rows):
        low = np.array([_number(row["f1_low"]) for row in rows])
        high = np.array([_number(row["f1_high"]) for row in rows])
        axes.errorbar(
            f1, places, xerr=np.maximum(0, [f1 - low, high - f1]), fmt="none",
            ecolor=style.INK, elinewidth=1, capsize=0 if many else 2, label="interval of F1",
        )  # fmt: skip
    size = 12 if many else 26
    axes.scatter(
        [_number(row["precision"]) for row in rows], places, marker="<", s=size,
        color=style.VERMILLION, label="precision", zorder=3, linewidth=0,
    )  # fmt: skip
    axes.scatter(
        [_number(row["recall"]) for row in rows], places, marker=">", s=size,
        color=style.GREEN, label="recall", zorder=3, linewidth=0,
    )  # fmt: skip
    names = [style.shorten(str(row["class"]), 22) for row in rows]
    axes.set_yticks(places, names, fontsize=6.5 if many else 9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    lowest = min(
        [
            _number(row.get(key, 1.0))
            for row in rows
            for key in ("f1", "precision", "recall", "f1_low")
        ]
    )
    # Bars may start above nought only where that is plain to see: the axis says so.
    start = 0.0 if lowest < 0.6 else 0.5 if lowest < 0.85 else 0.8
    axes.set_xlim(start, 1.005)
    style.percent_axis(axes, "x")
    axes.set_xlabel("score on the test images" + (f", from {100 * start:.0f} %" if start else ""))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8.5, handletextpad=0.4)
    return figure


def _number(value: Any) -> float:
    """Read a score; a class without one (no test image) counts as nought."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if np.isfinite(number) else 0.0
