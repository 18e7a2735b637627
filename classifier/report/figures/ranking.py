"""Ranking curves: ROC and precision-recall, each class against the rest."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from matplotlib.figure import Figure

from classifier.core.types import Float64Array
from classifier.report.figures import style

NAMED_UP_TO = 10  # classes: beyond it the curves are a bundle, with the weakest named

Curve = tuple[Float64Array, Float64Array]


def curves(
    kind: Literal["roc", "pr"],
    lines: Mapping[str, Curve],
    areas: Mapping[str, float],
    points: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Figure:
    """Draw one curve a class.

    ``lines`` maps a class to its x and y values in 0..1 (false and true positive rate for "roc",
    recall and precision for "pr"); ``areas`` maps a class to ROC AUC or average precision,
    ``points`` to what its threshold comes to, x and y.
    """
    figure = style.new_figure(height=4.9)
    axes = figure.subplots()
    weakest = sorted(lines, key=lambda name: (areas.get(name, 1.0), name))
    many = len(lines) > NAMED_UP_TO
    named = weakest[:6] if many else list(lines)
    for name, (x, y) in lines.items():
        if name not in named:
            axes.plot(x, y, color="#B8C4CC", linewidth=0.7, alpha=0.6)
    for number, name in enumerate(named):
        x, y = lines[name]
        area = f"  {areas[name]:.3f}" if name in areas else ""
        color = style.SERIES[number]
        axes.plot(
            x, y, color=color, linestyle=style.LINES[number], linewidth=1.6,
            label=style.shorten(name, 20) + area,
        )  # fmt: skip
        if name in points:
            axes.plot(*points[name], "o", color=color, markersize=8, clip_on=False, zorder=4)
    measure = "ROC AUC" if kind == "roc" else "average precision"
    title = f"weakest of {len(areas):,} classes, {measure}" if many else f"class, {measure}"
    if kind == "roc":
        axes.plot([0, 1], [0, 1], color=style.GRAY, linewidth=1, linestyle=(0, (2, 3)))
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
    else:
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
    longest = max(len(style.shorten(name, 20)) for name in named)
    figure.legend(
        loc="outside lower center", ncols=5 if longest < 4 else 3 if longest < 12 else 2,
        title=title, title_fontsize=8.5, fontsize=8, columnspacing=1.2, handlelength=2.6,
    )  # fmt: skip
    end = 1.0
    near = all(x <= 0.1 for x, _ in points.values())
    if kind == "roc" and near and all(np.interp(0.1, *line) > 0.97 for line in lines.values()):
        end = 0.1  # all else is a flat line
        axes.set_xlabel("false positive rate, up to 0.1")
    axes.set_xlim(-0.01 * end, 1.01 * end)
    marked = [y for _, y in points.values()]
    lowest = min([float(np.min(y)) for _, y in lines.values()] + marked)
    start = 0.0 if lowest < 0.55 else 0.5 if lowest < 0.85 else 0.8
    axes.set_ylim(start - 0.01 * (1 - start), 1 + 0.02 * (1 - start))
    return figure
