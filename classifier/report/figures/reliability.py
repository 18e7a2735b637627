"""Whether a probability means what it says: the reliability diagram, before and after scaling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from classifier.report.figures import style


@dataclass(frozen=True)
class Bins:
    """Test images in bins of confidence: mean confidence, fraction right and count of each."""

    confidence: Sequence[float]
    accuracy: Sequence[float]
    count: Sequence[int]


def diagram(parts: Mapping[str, Bins], errors: Mapping[str, float]) -> Figure:
    """Draw the bins of each part (as "before" and "after") and the expected calibration errors."""
    figure = style.new_figure(height=4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    upper.plot([0, 1], [0, 1], color=style.GRAY, linewidth=1, linestyle=(0, (2, 3)))
    upper.text(0.03, 0.07, "perfect", rotation=33, color=style.GRAY, fontsize=8)
    looks = ((style.VERMILLION, "s", -1), (style.BLUE, "o", 1))
    for (name, bins), (color, marker, side) in zip(parts.items(), looks, strict=False):
        error = f" (calibration error {100 * errors[name]:.1f} %)" if name in errors else ""
        total = max(1, sum(bins.count))
        upper.plot(bins.confidence, bins.accuracy, color=color, linewidth=1, alpha=0.4)
        # A bin of a few images says little: what it says is drawn small.
        areas = [10 + 110 * (count / total) ** 0.5 for count in bins.count]
        upper.scatter(
            bins.confidence, bins.accuracy, s=areas, color=color, marker=marker, linewidth=0,
            alpha=0.85, label=name + error, zorder=3,
        )  # fmt: skip
        fractions = [count / total for count in bins.count]
        places = [confidence + side * 0.008 for confidence in bins.confidence]
        lower.bar(places, fractions, width=0.015, color=color)
    upper.set_ylabel("fraction right")
    figure.legend(loc="outside upper left", markerscale=0.7)
    upper.set_ylim(-0.02, 1.04)
    lower.set_ylabel("images")
    lower.set_xlabel("confidence: probability of the predicted class")
    lower.set_xlim(-0.02, 1.02)
    for axes, axis in ((upper, "y"), (lower, "y"), (lower, "x")):
        style.percent_axis(axes, axis)
    return figure
