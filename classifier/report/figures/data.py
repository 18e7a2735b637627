"""What the data is like: images of each class in each split, and the sizes they came in."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from classifier.report.figures import style

MOST = 120  # classes: beyond it counts are drawn as a profile without names


def class_counts(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw, for each class, the number of images in each split (``counts[split][class]``)."""
    colors = {"train": style.TRAIN, "val": style.VALIDATION, "test": style.TEST}
    many, few = len(classes) > 25, len(classes) <= MOST
    step = (0.14 if many else 0.3) if few else 6.0 / len(classes)
    figure = style.new_figure(height=1.2 + step * len(classes))
    axes = figure.subplots()
    places = np.arange(len(classes))
    left = np.zeros(len(classes))
    for split, numbers in counts.items():
        values = np.asarray(numbers, dtype=float)
        axes.barh(
            places, values, left=left, height=0.78 if few else 1.0,
            color=colors.get(split, style.GRAY), label=f"{split}  {int(values.sum()):,}",
        )  # fmt: skip
        left += values
    if few:
        names = [style.shorten(name, 22) for name in classes]
        axes.set_yticks(places, names, fontsize=6.5 if many else 9)
    else:
        axes.set_ylabel("class number")
    axes.set_ylim(len(classes) - 0.4, -0.6)
    axes.set_xlabel("images")
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def sizes(widths: np.ndarray, heights: np.ndarray, prepared: int) -> Figure | None:
    """Draw how many images came in which width and height (pixels), and the prepared size.

    None when all came in one size: a sentence says that better.
    """
    if len(np.unique(widths)) == 1 and len(np.unique(heights)) == 1:
        return None
    figure = style.new_figure(height=4.6)
    axes = figure.subplots()
    top = float(max(widths.max(), heights.max(), prepared)) * 1.05
    low = float(min(widths.min(), heights.min(), prepared)) * 0.9
    low = 0.0 if low < 0.35 * top else low
    # Squares of whole pixels, or counts would alternate between neighbors.
    step = max(1, int(np.ceil((top - low) / 40)))
    bins = np.arange(np.floor(low) - 0.5, top + step, step)
    table, _, _ = np.histogram2d(heights, widths, bins=(bins, bins))
    shown = np.ma.masked_equal(table, 0)
    norm = LogNorm(1, table.max()) if table.max() > 20 else Normalize(0, table.max())
    mesh = axes.pcolormesh(bins, bins, shown, cmap="cividis_r", norm=norm, rasterized=True)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, shrink=0.8)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label("images")
    bar.outline.set_visible(False)
    axes.plot(
        [prepared], [prepared], marker="+", markersize=14, markeredgewidth=2, linestyle="none",
        color=style.VERMILLION, label=f"prepared: {prepared}×{prepared}",
    )  # fmt: skip
    axes.plot([low, top], [low, top], color=style.GRAY, linewidth=1, linestyle=(0, (2, 3)))
    axes.set_xlabel("width in pixels")
    axes.set_ylabel("height in pixels")
    axes.set_aspect("equal")
    figure.legend(loc="outside upper center")
    return figure
