"""docs/layers.svg: the packages of `classifier` by layer, and which stages run each.

The layers are those of the import contract in pyproject.toml, and the stages of a package follow
from its imports, so the picture shows what is checked and nothing else.

    python -m tools.layers_picture            say whether the picture is true, exit 1 if not
    python -m tools.layers_picture --write    draw it
"""

import io
import sys
import tomllib

import matplotlib
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from tools import ROOT
from tools.stage_packages import code

PICTURE = ROOT / "docs" / "layers.svg"
COLORS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377")
INK, EDGE, BAND = "#222222", "#8a94a3", "#eef1f5"
WIDTH, HEIGHT, GAP = 12.0, 0.62, 0.22  # of the drawing, a band, and between two bands


def layers() -> list[list[str]]:
    """The packages of each layer, the uppermost first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    found = next(contract for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in found["layers"]]


def stages() -> list[str]:
    """The stages in the order of dvc.yaml."""
    return list(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


def draw() -> str:
    """The picture as SVG; the same packages and imports give the same text."""
    rows, names = layers(), stages()
    used = {stage: set(code(stage)) for stage in names}
    height = len(rows) * (HEIGHT + GAP) + 0.7
    with matplotlib.rc_context(
        {"svg.hashsalt": "layers", "svg.fonttype": "none", "lines.markersize": 9}
    ):
        figure = Figure((WIDTH * 0.8, height * 0.8))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, WIDTH), ylim=(0, height))
        axes.axis("off")
        for number, row in enumerate(rows):
            bottom = height - 0.1 - (number + 1) * (HEIGHT + GAP) + GAP
            _band(axes, bottom, row, used)
        axes.add_patch(
            FancyArrowPatch((0.32, height - 0.15), (0.32, 0.75), arrowstyle="-|>",
                            mutation_scale=14, color=EDGE)
        )  # fmt: skip
        axes.text(
            0.2, height / 2 + 0.3, "imports", rotation=90, ha="center", va="center", color=INK
        )
        axes.text(0.75, 0.3, "runs in the stage", va="center", color=INK, fontsize=11)
        for place, stage in enumerate(names):
            x = 3.0 + place * 1.55
            axes.plot(x, 0.3, "o", color=COLORS[place])
            axes.text(x + 0.18, 0.3, stage, va="center", color=INK, fontsize=11)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return buffer.getvalue()


def _band(axes: Axes, bottom: float, row: list[str], used: dict[str, set[str]]) -> None:
    left, right = 0.65, WIDTH - 0.15
    axes.add_patch(_box(left, bottom, right - left, BAND, "none"))
    step = (right - left) / len(row)
    for place, package in enumerate(row):
        at = left + place * step
        axes.add_patch(_box(at + 0.1, bottom + 0.07, step - 0.2, "white", EDGE, HEIGHT - 0.14))
        axes.text(at + step / 2, bottom + HEIGHT / 2, package, ha="center", va="center",
                  color=INK, fontsize=12, fontweight="bold")  # fmt: skip
        dots = [
            color
            for color, packages in zip(COLORS, used.values(), strict=True)
            if f"classifier/{package}" in packages
        ]
        for index, color in enumerate(reversed(dots)):
            axes.plot(at + step - 0.35 - 0.24 * index, bottom + HEIGHT / 2, "o", color=color)


def _box(
    x: float, y: float, width: float, face: str, edge: str, height: float = HEIGHT
) -> FancyBboxPatch:
    style = "round,pad=0,rounding_size=0.08"
    return FancyBboxPatch((x, y), width, height, style, facecolor=face, edgecolor=edge)


def main(write: bool) -> int:
    """Compare the picture with the project; draw it when asked. Returns the exit status."""
    picture = draw()
    if write:
        PICTURE.write_text(picture, encoding="utf-8")
        return 0
    if PICTURE.exists() and PICTURE.read_text(encoding="utf-8") == picture:
        return 0
    print("docs/layers.svg is out of date: run python -m tools.layers_picture --write")
    return 1


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
