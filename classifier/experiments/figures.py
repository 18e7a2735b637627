"""Figures of a search: how it went, and which parameters mattered."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classifier.report.figures.style import BLUE, FAINT, GRAY, ORANGE, new_figure


def search_history(
    finished: Sequence[tuple[int, float]], stopped: Sequence[int], metric: str, lower: bool
) -> Figure:
    """Every trial's result and the best so far.

    Args:
        finished: (number, result) of the trials that ran to their end, at least one.
        stopped: numbers of the trials that were stopped early.
        metric: what the results are.
        lower: whether less is better.
    """
    figure = new_figure()
    axes = figure.add_subplot()
    numbers, values = np.array(finished, float).T
    best = np.minimum.accumulate(values) if lower else np.maximum.accumulate(values)
    for number in stopped:
        axes.axvline(number, color=FAINT, linewidth=1, zorder=0)
    if stopped:
        axes.plot([], [], color=FAINT, label="stopped early")
    axes.step(numbers, best, where="post", color=ORANGE, label="best so far")
    axes.plot(numbers, values, "o", color=BLUE, markersize=5, label="trial")
    axes.set(title="Search", xlabel="trial", ylabel=metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def search_importance(fractions: Mapping[str, float]) -> Figure:
    """Bars: the fraction of the spread of results that each parameter explains."""
    figure = new_figure(height=1.4 + 0.35 * len(fractions))
    axes = figure.add_subplot()
    names = sorted(fractions, key=lambda name: fractions[name])
    bars = axes.barh(names, [fractions[name] for name in names], color=BLUE, height=0.6)
    axes.bar_label(bars, [f"{fractions[name]:.0%}" for name in names], padding=4, color=GRAY)
    axes.set(
        title="Which parameters mattered", xlabel="fraction of the spread explained", xlim=(0, 1.1)
    )
    axes.grid(visible=False, axis="y")
    return figure
