"""The one look of all figures: colors, fonts, sizes, and how a figure becomes a file.

Colors are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which stay apart for the
color-blind. The ten of `SERIES` were searched for: they have a contrast of 3 to the page and stay
apart for the color-blind, light and dark. Areas run from white to dark blue in one direction of
lightness. Figures are drawn on white: the report inverts them, hue kept, on a dark page.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from classifier.core.files import replacing

BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, INK = "#CC79A7", "#56B4E9", "#F0E442", "#222222"
# Known sets of ten are made for white alone: inverted, the pale ones of Petroff's vanish.
SERIES = ("#1E5D9D", "#BF3D63", "#909A65", "#000000", "#6895E0",
          "#3B8F09", "#C17FA0", "#674A00", "#8A5CE1", "#6C0B49")  # fmt: skip
# The lines of either style are further apart than all ten: a second way to tell them.
LINES = ("-",) * 5 + ("--",) * 5
TRAIN, VALIDATION, TEST = BLUE, ORANGE, GREEN
RIGHT, WRONG = BLUE, VERMILLION
GRAY, FAINT = "#6B6B6B", "#D9D9D9"

# White to dark blue: lightness falls evenly, so that the order survives gray print.
SHADES = LinearSegmentedColormap.from_list(
    "shades", ["#FFFFFF", "#D6E6F4", "#9CC7E2", "#4F9BCB", "#1764AB", "#08306B"]
)

DPI = 150
WIDTH = 5.6  # inches: 840 pixels, so that 10-point text is legible at the width of a phone

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRAY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.09,  # inches
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.09,
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.8,
    "image.interpolation": "nearest",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "path.simplify": True,
    "savefig.dpi": DPI,
    "text.color": INK,
    "text.parse_math": False,  # class names may hold dollar signs
    "xtick.color": GRAY,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": GRAY,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}


def new_figure(width: float = WIDTH, height: float = 3.6) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches, with no global state behind it."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG with the same bytes for the same content: no version, no date."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # the stage says it
        figure.savefig(
            temporary,
            format="png",
            dpi=DPI,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 6},
        )


def shorten(text: str, length: int) -> str:
    """Cut ``text`` to ``length`` characters, an ellipsis showing the cut."""
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"


def percent_axis(axes: Axes, which: str) -> None:
    """Write the numbers 0..1 of axis ``which`` ("x" or "y") as per cent."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")


def text_on(shade: float) -> str:
    """Return the text color that is legible on ``SHADES(shade)``, ``shade`` in 0..1."""
    red, green, blue, _ = SHADES(shade)
    luminance = float(np.dot((red, green, blue), (0.299, 0.587, 0.114)))
    return "white" if luminance < 0.55 else INK
