"""How many answers are wrong, as ever less sure ones are given: the risk-coverage curve."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from classifier.report.figures import style


def risk_coverage(
    coverage: Sequence[float], risk: Sequence[float], answered: tuple[float, float] | None
) -> Figure:
    """Draw risk by coverage, both 0 to 1; ``answered`` is where *not sure* begins."""
    figure = style.new_figure(height=3.4)
    axes = figure.subplots()
    axes.plot(coverage, risk, color=style.BLUE)
    if answered is not None:
        axes.plot(*answered, "o", color=style.VERMILLION, markersize=8, label="the model's answers")
        figure.legend(loc="outside upper right")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: images that get an answer, the surest first")
    axes.set_ylabel("risk: wrong ones of these")
    for axis in ("x", "y"):
        style.percent_axis(axes, axis)
    return figure
