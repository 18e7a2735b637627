"""Every figure of a run: what it is called, how it is read, and what it is drawn from.

A figure whose inputs an earlier stage did not write, or that would show nothing, is left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from classifier.core.errors import UserError
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.ranking import pr_curve, roc_curve
from classifier.report.figures import (
    confusion,
    curves,
    data,
    embedding,
    network,
    per_class,
    ranking,
    reliability,
    selective,
    style,
)
from classifier.report.figures.fonts import fonts_for
from classifier.report.figures.galleries import galleries
from classifier.report.figures.seen import seen
from classifier.report.figures.tiles import Tile, sheet
from classifier.report.metric_table import of_split
from classifier.report.results import Results, rows

MOST_CURVES = 200  # classes that get a ranking curve; of more, the weakest


@dataclass(frozen=True)
class Drawn:
    """A figure that was drawn: its section of the report, its file, and how to read it.

    ``tiles`` are the images of a gallery, which the report lays out by itself; ``seen`` says in
    words what a chart shows.
    """

    section: str
    name: str
    title: str
    reading: str
    tiles: Sequence[Tile] = ()
    seen: str = ""


def draw_all(results: Results, folder: Path, images: int) -> list[Drawn]:
    """Write every figure as ``folder/NAME.png``, galleries with up to ``images`` images."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    families = list(fonts_for("".join(results.data.classes)).families)
    with rc_context({**style.STYLE, "font.family": families}):
        for chart, make in charts(results):
            figure = make()
            if figure is not None:
                style.save(figure, folder / f"{chart.name}.png")
                drawn.append(replace(chart, seen=seen(chart.name, results)))
        for gallery in galleries(results, images):
            style.save(
                sheet(gallery.tiles, gallery.side, gallery.columns), folder / f"{gallery.name}.png"
            )
            drawn.append(
                Drawn(gallery.section, gallery.name, gallery.title, gallery.reading, gallery.tiles)
            )
    return drawn


def charts(results: Results) -> Iterator[tuple[Drawn, Callable[[], Figure | None]]]:
    """Yield each chart that has its inputs, and the function that draws it."""
    classes, matrix = results.data.classes, results.confusion
    if results.history:
        best = results.metrics("train").get("best_epoch")
        yield (
            Drawn(
                "training",
                "curves",
                "Training curves",
                "Train and validation fall together while the network learns; validation that "
                "turns up again while train still falls is overfitting. Augmentation, dropout and "
                "label smoothing lift the train loss. The dashed line is the epoch that was kept.",
            ),
            partial(curves.training, results.history, best),
        )
    if results.summary:
        meta = results.data.meta
        shape = (meta["channels"], meta["image_size"], meta["image_size"])
        yield (
            Drawn(
                "training",
                "network",
                "The network",
                "Layers in the order they run, the shape that each puts out (channels × height × "
                "width), and where the weights and the work are.",
            ),
            partial(network.diagram, results.summary, shape),
        )
    yield (
        Drawn(
            "mistakes",
            "confusion",
            "Confusion matrix, counts",
            "Each row is an actual class, each column what it was taken for; the diagonal is "
            "right. Shades follow the square root, so that single mistakes show."
            + _in_blocks(len(classes)),
        ),
        partial(confusion.counts, matrix, classes),
    )
    yield (
        Drawn(
            "mistakes",
            "confusion_normalized",
            "Confusion matrix, per cent of the actual class",
            "The same with every row adding up to 100 %: the diagonal is the recall of each "
            "class, whatever its size." + _in_blocks(len(classes)),
        ),
        partial(confusion.normalized, matrix, classes),
    )
    yield (
        Drawn(
            "mistakes",
            "confused_pairs",
            "Most confused pairs",
            "actual → predicted: how often it happened, and in what fraction of the actual class.",
        ),
        partial(confusion.pairs, matrix, classes),
    )
    if not results.per_class.empty:
        yield (
            Drawn(
                "scores",
                "per_class",
                "Scores by class, weakest first",
                "Bars are F1 with its interval. Precision left of recall means that the class is "
                "claimed too often, recall left of precision that it is missed too often.",
            ),
            partial(per_class.scores, results.per_class),
        )
    yield from _ranking(results)
    if not results.reliability.empty:
        yield (
            Drawn(
                "scores",
                "reliability",
                "Reliability of the probabilities",
                "On the dotted line a probability means what it says; below it the network is "
                "too sure. Marks grow with the number of images, which the bars below show. "
                "“Calibrated” is after temperature scaling on the validation split.",
            ),
            partial(_reliability, results),
        )
    if not results.table("plots/risk_coverage").empty:
        yield (
            Drawn(
                "decisions",
                "risk_coverage",
                "Risk and coverage",
                "The surest answers are given first: how many of those given are wrong (risk), as "
                "ever more images get an answer (coverage). On the right every image has one.",
            ),
            partial(_risk_coverage, results),
        )
    yield (
        Drawn(
            "data",
            "class_counts",
            "Images by class and split",
            "Bars of about one length are a balanced set; a class with few training images "
            "is a reason for a weak score.",
        ),
        partial(data.class_counts, _class_counts(results), classes),
    )
    sizes = np.concatenate([results.data.sizes(split) for split in results.data.splits])
    if len(sizes):
        yield (
            Drawn(
                "data",
                "sizes",
                "Sizes of the images",
                "Width and height before resizing. Far from the dashed diagonal the resize "
                "distorts or cuts; far beyond the cross it throws detail away.",
            ),
            partial(data.sizes, sizes[:, 0], sizes[:, 1], results.data.meta["image_size"]),
        )
    if len(results.embedding) > 2:
        yield (
            Drawn(
                "explanation",
                "embedding",
                "Test images as the network sees them",
                "Each point is a test image, placed by the two main directions of what the last "
                "layer sees, in the color of its actual class; a cross is a mistake. Groups that "
                "touch are classes that get confused.",
            ),
            partial(_embedding, results),
        )


def _in_blocks(classes: int) -> str:
    each = confusion.block(classes)
    return "" if each == 1 else f" A cell adds up {each} classes by {each}, in their order."


def _class_counts(results: Results) -> dict[str, list[int]]:
    number = len(results.data.classes)
    return {
        split: np.bincount(results.data.labels(split), minlength=number).tolist()
        for split in results.data.splits
        if split != "unlabelled"
    }


def _ranking(results: Results) -> Iterator[tuple[Drawn, Callable[[], Figure | None]]]:
    outcomes = Outcomes(results.logits, results.actual)
    texts = {
        "roc": (
            "ROC curves",
            "Each class against the rest, at every threshold: the nearer to the upper left "
            "corner, the fewer false alarms it takes to find the class. The dotted line is chance. "
            "A dot is what a class's threshold comes to.",
        ),
        "pr": (
            "Precision-recall curves",
            "Of what is called the class, how much is right (precision), as ever more of the "
            "class is found (recall): the nearer to the upper right corner, the better. A dot is "
            "what a class's threshold comes to.",
        ),
    }
    for kind, area in (("roc", "roc_auc"), ("pr", "average_precision")):
        title, reading = texts[kind]
        yield Drawn("scores", kind, title, reading), partial(_curves, results, outcomes, kind, area)


def _curves(results: Results, outcomes: Outcomes, kind: str, area: str) -> Figure | None:
    classes = results.data.classes
    areas = {
        row["class"]: row[area]
        for row in rows(results.per_class)
        if not np.isnan(row.get(area, np.nan))
    }
    order = sorted(range(len(classes)), key=lambda label: areas.get(classes[label], 1.0))
    chosen = sorted(order[:MOST_CURVES])
    # Almost all that a good network's ROC has to say happens close to nought.
    at = np.linspace(0, 1, 201) ** (3 if kind == "roc" else 1)
    curve = roc_curve if kind == "roc" else pr_curve
    lines = {}
    for label in chosen:
        y = curve(outcomes.probability(label), outcomes.labels == label, at)
        if not np.isnan(y).any():
            lines[classes[label]] = (at, y)
    table = results.table("tables/operating_points")
    axes = ("false_positive_rate", "recall") if kind == "roc" else ("recall", "precision")
    points = {
        row["class"]: (row[axes[0]], row[axes[1]])
        for row in rows(table.dropna(subset=axes) if len(table) else table)
        if row["class"] in lines
    }
    return ranking.curves("roc" if kind == "roc" else "pr", lines, areas, points) if lines else None


def _risk_coverage(results: Results) -> Figure:
    table = results.table("plots/risk_coverage")
    found = results.metrics("evaluate").get("answers")
    answered = (found["coverage"], 1 - found["accuracy"]) if found and found["coverage"] else None
    return selective.risk_coverage(table["coverage"].tolist(), table["risk"].tolist(), answered)


def _reliability(results: Results) -> Figure:
    scores = of_split(results.metrics("details"), "test")
    parts, errors = {}, {}
    for name, ending in (("as predicted", ""), ("calibrated", "_calibrated")):
        held = results.reliability[results.reliability[f"count{ending}"] > 0]
        columns = (
            held[f"{column}{ending}"].tolist() for column in ("confidence", "accuracy", "count")
        )
        parts[name] = reliability.Bins(*columns)
        if f"ece{ending}" in scores:
            errors[name] = scores[f"ece{ending}"].value
    return reliability.diagram(parts, errors)


def _embedding(results: Results) -> Figure:
    points = results.embedding
    number = {name: label for label, name in enumerate(results.data.classes)}
    if not points["actual"].isin(number).all():
        raise UserError("data/explain/embedding.csv is damaged: run dvc repro evaluate.")
    return embedding.plane(
        points[["x", "y"]].to_numpy(),
        [number[name] for name in points["actual"]],
        (points["actual"] == points["predicted"]).to_numpy(),
        results.data.classes,
        results.explanation.get("embedding_variance") or [],
    )
