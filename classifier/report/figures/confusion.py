"""Which class is taken for which: the confusion matrix and its largest mistakes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classifier.report.figures import style

NUMBERS_UP_TO = 30  # classes: beyond it a number a cell is too small to read
NAMES_UP_TO = 150  # classes: beyond it names a row overlap, and cells are specks
BLOCKS = 100  # cells a side, at most, of what has more classes than that


def counts(matrix: np.ndarray, classes: list[str]) -> Figure:
    """Draw int [K, K] counts, rows the actual class and columns the predicted one."""
    matrix = _blocks(matrix)
    texts = [[str(value) if value else "" for value in row] for row in matrix.tolist()]
    return _matrix(matrix.astype(float), texts, classes, "test images")


def normalized(matrix: np.ndarray, classes: list[str]) -> Figure:
    """Draw counts as fractions of each row, so that the diagonal is the recall of each class."""
    matrix = _blocks(matrix)
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    texts = [[_percent(value) for value in row] for row in fractions.tolist()]
    return _matrix(fractions, texts, classes, "fraction of the actual class")


def block(classes: int) -> int:
    """How many neighboring classes a row and a column of the drawn matrix stand for."""
    return 1 if classes <= NAMES_UP_TO else -(-classes // BLOCKS)


def _blocks(matrix: np.ndarray) -> np.ndarray:
    starts = np.arange(0, len(matrix), block(len(matrix)))
    return np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)


def largest_pairs(matrix: np.ndarray, limit: int) -> list[tuple[int, int, int, float]]:
    """The most frequent mistakes as (actual, predicted, count, fraction of the actual class).

    Sorted by count, then by the order of the classes; only pairs that happened.
    """
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    totals = np.maximum(matrix.sum(axis=1), 1)
    pairs = [divmod(int(place), matrix.shape[1]) for place in order]
    return [
        (
            actual,
            predicted,
            int(wrong[actual, predicted]),
            wrong[actual, predicted] / totals[actual],
        )
        for actual, predicted in pairs
        if wrong[actual, predicted] > 0
    ]


def pairs(matrix: np.ndarray, classes: list[str], limit: int = 15) -> Figure | None:
    """Draw the most frequent mistakes as bars; None when there is no mistake."""
    found = largest_pairs(matrix, limit)
    if not found:
        return None
    figure = style.new_figure(height=0.9 + 0.26 * len(found))
    axes = figure.subplots()
    values = [count for _, _, count, _ in found]
    axes.barh(range(len(found)), values, color=style.WRONG, height=0.7)
    labels = [
        f"{style.shorten(classes[actual], 18)} → {style.shorten(classes[predicted], 18)}"
        for actual, predicted, _, _ in found
    ]
    axes.set_yticks(range(len(found)), labels)
    for row, (_, _, count, fraction) in enumerate(found):
        axes.text(count, row, f" {count}  ({_percent(fraction)} %)", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values) * 1.22)
    axes.set_xlabel("test images (fraction of the actual class)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", visible=False)
    return figure


def _matrix(values: np.ndarray, texts: list[list[str]], classes: list[str], label: str) -> Figure:
    number, each = len(values), block(len(classes))
    cell = 0.9 if number <= 3 else 0.46 if number <= 12 else 0.34 if number <= 30 else 0.11
    side = min(cell * number, 11.0)
    names = [style.shorten(name, 20) for name in classes] if each == 1 else [""]
    numbers = number <= NUMBERS_UP_TO
    margin = 0.8 + 0.09 * max(map(len, names))
    figure = style.new_figure(max(4.2, side + margin + (0 if numbers else 1.1)), side + margin)
    figure.set_layout_engine("compressed")  # made for axes of a fixed shape
    axes = figure.subplots()
    top = float(values.max()) or 1.0
    # The square root keeps rare mistakes visible beside a full diagonal.
    shades = np.sqrt(values / top)
    image = axes.imshow(shades, cmap=style.SHADES, vmin=0, vmax=1, aspect="equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class" if each == 1 else f"predicted, {each} classes a column")
    axes.set_ylabel("actual class" if each == 1 else f"actual, {each} classes a row")
    if each == 1:
        _names(axes, names, cell)
    else:
        places = np.arange(0, number, 10)
        axes.set_xticks(places - 0.5, [f"{place * each:,}" for place in places])
        axes.set_yticks(places - 0.5, [f"{place * each:,}" for place in places])
    if numbers:
        size = 12 if number <= 3 else 9 if number <= 12 else 6.5
        for row in range(number):
            for column in range(number):
                if texts[row][column]:
                    color = style.text_on(float(shades[row, column]))
                    axes.text(
                        column, row, texts[row][column], ha="center", va="center",
                        fontsize=size, color=color,
                    )  # fmt: skip
        edges = np.arange(number + 1) - 0.5
        axes.hlines(edges, -0.5, number - 0.5, color=style.FAINT, linewidth=0.6)
        axes.vlines(edges, -0.5, number - 0.5, color=style.FAINT, linewidth=0.6)
        return figure
    every = np.arange(10, number, 10) - 0.5  # something to follow a row or a column by
    axes.hlines(every, -0.5, number - 0.5, color=style.FAINT, linewidth=0.6)
    axes.vlines(every, -0.5, number - 0.5, color=style.FAINT, linewidth=0.6)
    axes.spines[:].set_visible(True)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, shrink=0.6)
    percent = label.startswith("fraction")
    scale = 100 * top if percent else top
    marks = np.unique(np.round(scale * np.array([0, 0.05, 0.25, 0.5, 0.75, 1.0])))
    marks = marks[marks <= scale]
    bar.set_ticks(
        np.sqrt(marks / scale).tolist(),
        labels=[f"{mark:.0f} %" if percent else f"{mark:,.0f}" for mark in marks],
    )
    bar.set_label(label)
    bar.outline.set_visible(False)
    return figure


def _names(axes: Axes, names: list[str], cell: float) -> None:
    size = 9.0 if cell > 0.3 else 6.0
    long = max(map(len, names)) * size * 0.6 > 72 * cell * 0.95  # points
    axes.set_xticks(range(len(names)), names, rotation=90 if long else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.tick_params(length=0)


def _percent(fraction: float) -> str:
    """Write a fraction as whole per cent, "" for none and "<1" for what would round to none."""
    if fraction == 0:
        return ""
    return "<1" if fraction < 0.005 else f"{100 * fraction:.0f}"
