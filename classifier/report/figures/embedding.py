"""The test images as the network sees them, on a plane."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from classifier.report.figures import style

NAMED = 15  # classes
COLORED_UP_TO = 10  # classes: beyond it no set of colors stays apart, names do the work


def plane(
    points: np.ndarray, actual: Sequence[int], right: np.ndarray, classes: Sequence[str],
    variance: Sequence[float],
) -> Figure:  # fmt: skip
    """Draw ``points`` float [N, 2] by class.

    ``actual`` [N] are class numbers, ``right`` bool [N] says where the prediction was, and
    ``variance`` is the fraction of the features' variance that each axis holds.
    """
    figure = style.new_figure(height=5.2)
    axes = figure.subplots()
    numbers = np.asarray(actual)
    few = len(classes) <= COLORED_UP_TO
    size = float(np.clip(9000 / max(1, len(points)), 3, 18))
    markers = "osD^vP<>p*"
    for number in range(len(classes)):
        here = (numbers == number) & right
        missed = (numbers == number) & ~right
        hue = style.SERIES[number] if few else _hue(number, len(classes))
        axes.scatter(
            points[here, 0], points[here, 1], s=size, linewidth=0, alpha=0.85 if few else 0.45,
            color=hue, marker=markers[number] if few else "o",
        )  # fmt: skip
        # In the color of the class, or many mistakes would hide where the classes lie.
        axes.scatter(
            points[missed, 0], points[missed, 1], s=size * 1.6, linewidth=0.9, color=hue, marker="x"
        )
    wrong = int((~right).sum())
    axes.scatter([], [], s=18, marker="x", color=style.INK, label=f"{wrong} predicted wrong")
    halo = [withStroke(linewidth=2.5, foreground="white")]
    present = [number for number in range(len(classes)) if (numbers == number).any()]
    # Of many classes only those with the most mistakes are named, or the names hide the points.
    present.sort(key=lambda number: -int(((numbers == number) & ~right).sum()))
    present = present[:NAMED]
    centers = np.array([np.median(points[numbers == number], axis=0) for number in present])
    centers = _apart(centers, np.ptp(points, axis=0))
    for number, (x, y) in zip(present, centers.tolist(), strict=True):
        axes.text(
            x, y, style.shorten(classes[number], 16), ha="center", va="center",
            path_effects=halo, fontsize=9 if few else 6.5,
            fontweight="bold" if few else "normal",
        )  # fmt: skip
    fractions = [f" ({100 * fraction:.0f} % of the variance)" for fraction in variance] or ["", ""]
    axes.set_xlabel(f"first principal component{fractions[0]}")
    axes.set_ylabel(f"second principal component{fractions[-1]}")
    if wrong:
        figure.legend(loc="outside upper right", fontsize=8)
    return figure


def _apart(places: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Move labels [K, 2] that overlap up or down, a little at a time."""
    width, height = 0.14 * span[0], 0.035 * span[1]
    for _ in range(60):
        order = np.argsort(places[:, 1], kind="stable")
        moved = False
        for position, low in enumerate(order):
            for high in order[position + 1 :]:
                gap = places[high] - places[low]
                if abs(gap[0]) < width and abs(gap[1]) < height:
                    push = (height - abs(gap[1])) / 2 + 1e-9
                    places[low, 1] -= push
                    places[high, 1] += push
                    moved = True
        if not moved:
            break
    return places


def _hue(number: int, total: int) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    # Neighboring class numbers get colors far apart.
    return colormaps["viridis"]((number * 0.618034) % 1.0 * 0.95)
