"""How well each class does: F1, precision and recall, with intervals where they are known."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from classifier.report.figures import style

MOST = 100  # classes: beyond it only the weakest are drawn


def scores(table: pd.DataFrame) -> Figure:
    """Draw one bar a class, weakest first; a class without a score (no test image) counts as 0.

    The table has ``class`` (str), ``precision``, ``recall`` and ``f1`` (0..1) and may have
    ``f1_low`` and ``f1_high``, the interval of F1.
    """
    rows = table.fillna(0.0).sort_values(["f1", "class"]).head(MOST)
    many = len(rows) > 25
    step = 0.15 if many else 0.3
    figure = style.new_figure(height=1.3 + step * len(rows))
    axes = figure.subplots()
    places = np.arange(len(rows))
    f1 = rows["f1"]
    axes.barh(places, f1, height=0.72, color="#A9CBE3", label="F1")
    if {"f1_low", "f1_high"} <= {*rows}:
        ends = np.maximum(0, [f1 - rows["f1_low"], rows["f1_high"] - f1])
        axes.errorbar(
            f1, places, xerr=ends, fmt="none",
            ecolor=style.INK, elinewidth=1, capsize=0 if many else 2, label="interval of F1",
        )  # fmt: skip
    size = 12 if many else 26
    axes.scatter(
        rows["precision"], places, marker="<", s=size,
        color=style.VERMILLION, label="precision", zorder=3, linewidth=0,
    )  # fmt: skip
    axes.scatter(
        rows["recall"], places, marker=">", s=size,
        color=style.GREEN, label="recall", zorder=3, linewidth=0,
    )  # fmt: skip
    names = [style.shorten(name, 22) for name in rows["class"]]
    axes.set_yticks(places, names, fontsize=6.5 if many else 9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    lowest = rows.filter(items=["f1", "precision", "recall", "f1_low"]).to_numpy().min()
    # Bars may start above nought only where that is plain to see: the axis says so.
    start = 0.0 if lowest < 0.6 else 0.5 if lowest < 0.85 else 0.8
    axes.set_xlim(start, 1.005)
    style.percent_axis(axes, "x")
    axes.set_xlabel("score on the test images" + (f", from {100 * start:.0f} %" if start else ""))
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8.5, handletextpad=0.4)
    return figure
