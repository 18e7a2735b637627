"""The network as a diagram: its layers in order, what each puts out, where its weights are."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from classifier.report.figures import style

MOST = 40  # boxes: beyond it the layers of a stage are folded into one

KINDS = (
    ("conv", style.BLUE, "convolution"),
    ("linear", style.GREEN, "linear"),
    ("norm", style.ORANGE, "norm"),
    ("pool", style.PURPLE, "pooling"),
    ("attention", style.VERMILLION, "attention"),
    ("drop", style.YELLOW, "dropout"),
    ("", "#9A9A9A", "other"),
)


def diagram(summary: Mapping[str, Any], input_shape: Sequence[int]) -> Figure:
    """Draw ``models/summary.json``; ``input_shape`` is (channels, height, width) of the images.

    Each layer is a row: a box in the color of its kind, the shape it puts out, and bars on a
    common scale for its fraction of the weights and of the multiply-adds.
    """
    layers = _folded(summary["layers"])
    height = 0.27 * (len(layers) + 1) + 1.5
    figure = style.new_figure(height=height)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 100)
    axes.set_ylim(len(layers) + 2.1, -1.6)
    parameters = max(1, sum(layer["parameters"] for layer in layers))
    work = max(1, sum(layer["multiply_adds"] for layer in layers))
    heads = ((2, "layer"), (42, "output"), (59, "weights"), (81, "multiply-adds"))
    for x, text in heads:
        axes.text(x, -1, text, fontsize=8.5, color=style.GRAY, va="center")
    _box(axes, 0, "#FFFFFF", f"input · {'×'.join(map(str, input_shape))} image")
    for row, layer in enumerate(layers, start=1):
        _box(axes, row, _kind(layer)[1], _title(layer))
        shape = "×".join(str(edge) for edge in layer["output"])
        axes.text(42, row, shape, fontsize=8, va="center")
        _bar(axes, row, 59, layer["parameters"], parameters)
        _bar(axes, row, 81, layer["multiply_adds"], work)
    last = len(layers) + 1.1
    axes.text(
        2, last + 0.2,
        f"{summary['parameters']:,} weights · {short(summary['multiply_adds'])} multiply-adds "
        "an image",
        fontsize=9, fontweight="bold", va="center",
    )  # fmt: skip
    return figure


def short(number: float) -> str:
    """Write a count in thousands, millions or billions with three significant digits."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number:.0f}"


def _folded(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Join the layers of one block until no more than ``MOST`` rows remain."""
    rows = [{**layer, "count": 1} for layer in layers]
    depth = max((row["name"].count(".") for row in rows), default=0)
    while len(rows) > MOST and depth > 0:
        joined: list[dict[str, Any]] = []
        for row in rows:
            prefix = ".".join(row["name"].split(".")[:depth])
            if joined and joined[-1]["name"] == prefix:
                previous = joined[-1]
                previous["output"] = row["output"]
                previous["parameters"] += row["parameters"]
                previous["multiply_adds"] += row["multiply_adds"]
                previous["count"] += row["count"]
            else:
                joined.append({**row, "name": prefix})
        rows, depth = joined, depth - 1
    return rows


def _title(layer: Mapping[str, Any]) -> str:
    kind = f"{layer['count']} layers" if layer["count"] > 1 else str(layer["kind"])
    return style.shorten(f"{layer['name']} · {kind}", 31)


def _kind(layer: Mapping[str, Any]) -> tuple[str, str, str]:
    kind = "" if layer["count"] > 1 else str(layer["kind"]).lower()
    return next(entry for entry in KINDS if entry[0] in kind)


def _box(axes: Any, row: float, color: str, text: str) -> None:
    box = FancyBboxPatch(
        (1, row - 0.36), 39, 0.72,
        boxstyle="round,pad=0,rounding_size=0.3", mutation_aspect=0.3,
        facecolor="#F7F7F7", edgecolor=style.FAINT, linewidth=0.8,
    )  # fmt: skip
    axes.add_patch(box)
    if color != "#FFFFFF":
        axes.add_patch(
            FancyBboxPatch(
                (1, row - 0.36), 0.8, 0.72, boxstyle="square,pad=0", facecolor=color, linewidth=0
            )
        )
    axes.text(3, row, text, fontsize=8, va="center")


def _bar(axes: Any, row: int, left: float, value: float, total: float) -> None:
    if not value:
        return
    length = 7.5 * value / total
    axes.barh(row, length, left=left, height=0.55, color=style.SKY)
    axes.text(left + length + 0.8, row, short(value), fontsize=7.5, va="center")
