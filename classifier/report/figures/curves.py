"""How training went: loss, accuracy and learning rate by epoch."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classifier.report.figures import style


def training(history: Mapping[str, Sequence[float]], best_epoch: int | None) -> Figure:
    """Draw the columns of the history, each a value an epoch (``nan`` where there is none).

    Known columns: ``epoch``, ``train_loss``, ``val_loss``, ``train_accuracy``, ``val_accuracy``
    and ``lr``; a panel whose columns are all missing is left out.
    """
    panels = [
        ("Loss", "cross-entropy", [("train_loss", "train"), ("val_loss", "validation")]),
        (
            "Accuracy",
            "fraction right",
            [("train_accuracy", "train"), ("val_accuracy", "validation")],
        ),
        ("Learning rate", "learning rate", [("lr", "")]),
    ]
    panels = [panel for panel in panels if any(key in history for key, _ in panel[2])]
    heights = [1.0 if title == "Learning rate" else 1.9 for title, _, _ in panels]
    figure = style.new_figure(height=1.35 * sum(heights) + 0.4)
    axes = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    epochs = np.asarray(history["epoch"], dtype=float)
    for panel, (title, label, columns) in zip(axes, panels, strict=True):
        for key, name in columns:
            if key in history:
                _line(panel, epochs, np.asarray(history[key], dtype=float), key, name)
        panel.set_title(title)
        panel.set_ylabel(label)
        if best_epoch is not None:
            panel.axvline(best_epoch, color=style.GRAY, linewidth=1, linestyle=(0, (4, 3)))
        if title == "Accuracy":
            panel.set_ylim(top=min(1.0, panel.get_ylim()[1]) + 0.005)
            style.percent_axis(panel, "y")
    if best_epoch is not None:
        _mark_best(axes[0], best_epoch, epochs)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    axes[-1].set_xlabel("epoch")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _line(panel: Axes, epochs: np.ndarray, values: np.ndarray, key: str, name: str) -> None:
    color = style.VALIDATION if key.startswith("val") else style.TRAIN
    color = style.GREEN if key == "lr" else color
    # A single epoch would be an invisible line; a few epochs are points rather than a trend.
    marker = "o" if len(epochs) <= 15 else None
    known = np.isfinite(values)
    panel.plot(epochs[known], values[known], color=color, marker=marker, markersize=3.5, label=name)


def _mark_best(panel: Axes, best_epoch: int, epochs: np.ndarray) -> None:
    late = len(epochs) > 1 and best_epoch > (epochs[0] + epochs[-1]) / 2
    panel.annotate(
        f"best epoch {best_epoch}",
        xy=(best_epoch, 0.55),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if late else 5, 0),
        textcoords="offset points",
        ha="right" if late else "left",
        color=style.GRAY,
        fontsize=9,
    )
