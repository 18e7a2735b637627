"""The report of a run: one HTML file that holds everything it shows, for phone and wide screen.

It has the same bytes when the same run is repeated: no date, no commit, no host, no wall time.
"""

import base64
import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import jinja2
import numpy as np
import pandas as pd
from annotated_types import Interval
from PIL import Image

from classifier.core.errors import UserError
from classifier.core.files import replacing
from classifier.core.params import flatten
from classifier.core.resize import resize_in
from classifier.report.changes import Changes
from classifier.report.figures.collection import Drawn
from classifier.report.figures.fonts import fonts_for
from classifier.report.figures.tiles import Tile, percent
from classifier.report.metric_table import MEANINGS, Metric, of_split, test_metrics
from classifier.report.results import Results, Row, rows

PAGE = Path(__file__).with_name("page")
LARGEST = 4_500_000  # bytes of images, as written into the page: mail and chats take 5 MB

SECTIONS = {
    "data": ("Data", "What the network was given."),
    "training": ("Training", "How it learnt."),
    "scores": ("Scores", "How well it does on images that it never saw."),
    "decisions": ("Decisions", "What follows from a probability: thresholds, and not sure."),
    "mistakes": ("Predictions and mistakes", "What it gets right, and what it takes for what."),
    "explanation": ("Explanation", "What it looks at."),
    "quality": ("Data quality", "What may be wrong with the data itself."),
}
# What tells overfitting, of all that is measured on every split.
GLANCE = ("accuracy", "balanced_accuracy", "loss", "f1_macro", "ece_calibrated", "ece")
SPLITS = {"test": "test", "val": "validation", "train": "train"}  # as they are named in words
CALIBRATION = ("ece", "ece_calibrated")
FEWEST = 4  # mistakes that make a gallery
WEAK, SHOWN = 3, 6  # classes and mistakes on the first screen
PACKAGES = ("torch", "torchvision", "timm", "numpy", "dvc", "scikit-learn")


@dataclass(frozen=True)
class PlotParams:
    """The section ``plot`` of params.yaml, which says what each key means."""

    images: Annotated[int, Interval(ge=1, le=500)] = 32
    table_rows: Annotated[int, Interval(ge=1, le=5000)] = 200


def write_report(
    path: Path,
    results: Results,
    drawn: Sequence[Drawn],
    figures: Path,
    changes: Changes,
    params: PlotParams,
) -> None:
    """Write the report to ``path``; ``figures`` is the folder where ``drawn`` were drawn."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    page = environment.get_template("page.html.j2").render(
        style=(PAGE / "page.css").read_text(encoding="utf-8"),
        script=(PAGE / "page.js").read_text(encoding="utf-8"),
        **_content(results, params),
        answers=_answers(results, changes),
        sections=_sections(drawn, figures),
        changes=changes,
        metric_changes=_metric_changes(changes),
        # No more of Python's version: its packages are pinned, and its patches change no result.
        versions={"Python": "{}.{}".format(*sys.version_info), **_versions()},
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def _content(results: Results, params: PlotParams) -> dict[str, Any]:
    details = results.metrics("details")
    splits = {part: of_split(details, part) for part in SPLITS}
    confidence = details.get("bootstrap", {}).get("confidence", 0.95)
    quality = results.metrics("quality")
    accuracy = splits["test"].get("accuracy")
    if accuracy is None:
        raise UserError("metrics/details.json has no accuracy of test: run dvc repro evaluate.")
    return {
        "source": results.source,
        "meta": results.data.meta,
        "resize": resize_in(results.data.meta),
        "accuracy": accuracy,
        "metrics": test_metrics(details),
        "confidence": f"{100 * confidence:g} %",
        "splits": {SPLITS[part]: found for part, found in splits.items() if found},
        "glance": [key for key in GLANCE if key in splits["test"]],
        "counts": {split: results.data.meta["counts"][split] for split in results.data.splits},
        "train": results.metrics("train"),
        "summary": results.summary,
        "params": _by_section(results.params),
        "changed": _changed(results.params),
        "calibration": [m for m in test_metrics(details) if m.key in CALIBRATION],
        "no_letters": fonts_for("".join(results.data.classes)).missing,
        "per_class": _class_rows(results.per_class),
        "decision": details.get("decision"),
        "points": [_point(row) for row in rows(results.table("tables/operating_points"))],
        "coverage": [_coverage(row) for row in rows(results.table("tables/coverage"))],
        "mistakes": _mistakes(results, params.table_rows),
        "wrong": int((results.actual != results.predicted).sum()),
        "images": len(results.actual),
        "quality": {key: value for key, value in quality.items() if isinstance(value, int | float)},
        "rejected": rows(results.rejected)[: params.table_rows],
        "doubted": len(results.explained("label_errors")),
    }


def _answers(results: Results, changes: Changes) -> dict[str, Any]:
    """What the first screen says beside the accuracy: of the change, overfitting and the run."""
    details = results.metrics("details")
    splits = {part: of_split(details, part) for part in ("train", "val", "test")}
    weak = sorted(rows(results.per_class), key=lambda row: row["f1"])
    none = sum(row["f1"] == 0 for row in weak)
    facts = {"data": results.source.get("name", "images"), "network": results.summary.get("name")}
    facts |= {"model": results.model[:12], "splits": results.split_digest[:12]}
    return {
        "change": _change(changes),
        "splits": {
            name: splits[part]["accuracy"].text
            for part, name in (("train", "train"), ("val", "validation"), ("test", "test"))
            if "accuracy" in splits[part]
        },
        "overfit": _overfit(splits),
        "weak": [(row["class"], row["f1"]) for row in weak[:WEAK] if row["f1"] < 1],
        "never_right": none if none > WEAK else 0,
        "facts": {key: value for key, value in facts.items() if value},
        "mistakes": _mistakes(results, SHOWN),
    }


def _change(changes: Changes) -> dict[str, str]:
    """How the accuracy stands to the last commit's: a word, and a sentence."""
    if changes.missing:
        return {"word": "no baseline", "text": changes.missing}
    data = ("download.", "split.")
    if any(one.name.startswith(data) for one in changes.params):
        text = "The data or their splits are others than those of the last commit."
        return {"word": "not comparable", "text": text}
    accuracy = next((one for one in changes.metrics if one.name == "test_accuracy"), None)
    if accuracy is None:
        return {"word": "the same", "text": "The test accuracy is that of the last commit."}
    if accuracy.before is None or accuracy.after is None:
        return {"word": "no baseline", "text": "The last commit has no test accuracy."}
    points = 100 * (accuracy.after - accuracy.before)
    return {
        "word": f"{points:+.2f} points {'▲' if points > 0 else '▼'}",
        "text": f"The last commit has {100 * accuracy.before:.2f} %."
        " Better, or only luckier? See classifier compare.",
    }


def _metric_changes(changes: Changes) -> list[dict[str, str]]:
    """The metrics that differ, by their names, and an arrow that says which way is better.

    Those of test come first, the most telling before the others, then those of the training.
    """
    order, found = list(MEANINGS), []
    for one in changes.metrics:
        if one.name.endswith(("_low", "_high", "_interval")):
            continue
        split, _, key = one.name.partition("_")
        if split not in SPLITS:
            split, key = "", one.name
        metric = Metric(key, 0)
        known = key in MEANINGS or key.startswith("top")
        texts = [metric.write(v) if known else _number(v) for v in (one.before, one.after)]
        name = metric.name + (f", {SPLITS[split]}" if split in ("train", "val") else "")
        row = {"name": name, "before": texts[0], "after": texts[1], "change": "–", "tone": ""}
        if isinstance(one.before, int | float) and isinstance(one.after, int | float):
            change = one.after - one.before
            text = metric.write_change(change) if known else f"{change:+,.5g}"
            row["change"] = f"{text} {'▲' if change > 0 else '▼'}"
            if known:
                row["tone"] = "better" if (change > 0) != metric.lower_is_better else "worse"
        place = order.index(key) if key in order else len(order)
        found.append(((not known, split in ("train", "val"), place), row))
    return [row for _, row in sorted(found, key=lambda one: one[0])]


def _overfit(splits: Mapping[str, Mapping[str, Metric]]) -> str:
    """Whether the intervals of the accuracy on train and on test lie apart."""
    train, test = (splits[part].get("accuracy") for part in ("train", "test"))
    if train is None or test is None or None in (train.low, test.high):
        return "Train was not scored."
    if train.low > test.high:  # type: ignore[operator]
        return "Train is clearly above test: overfitting."
    return "No overfitting is shown: train is not clearly above test."


def _sections(drawn: Sequence[Drawn], figures: Path) -> list[dict[str, Any]]:
    """Group the figures, with their images as data; what no longer fits is named by its file."""
    left = LARGEST
    content: dict[str, list[dict[str, Any]]] = {name: [] for name in SECTIONS}
    for figure in sorted(drawn, key=lambda one: bool(one.tiles)):  # charts matter most
        if figure.section == "mistakes" and 0 < len(figure.tiles) < FEWEST:
            continue  # the table of mistakes and the first screen show them
        entry: dict[str, Any] = {"figure": figure, "chart": "", "tiles": [], "other": None}
        entry["shut"] = []
        entry["missing"], entry["seen"] = False, figure.seen
        if figure.tiles:
            entry["tiles"] = [_tile(tile) for tile in figure.tiles]
            size = sum(len(tile["data"]) for tile in entry["tiles"])
            if figure.name == "augmentation":  # what is off is there to be looked up
                entry["shut"] = [tile for tile in entry["tiles"] if tile["tile"].note == "off"]
                entry["tiles"] = [tile for tile in entry["tiles"] if tile["tile"].note != "off"]
        else:
            image = Image.open(figures / f"{figure.name}.png").convert("RGB")
            entry["chart"], entry["width"], entry["height"] = _chart(image), *image.size
            size = len(entry["chart"])
        if size > left:
            entry |= {"chart": "", "tiles": [], "shut": [], "missing": True}
        else:
            left -= size
        content[figure.section].append(entry)
    _one_confusion_matrix(content["mistakes"])
    return [
        {"key": key, "title": title, "about": about, "entries": content[key]}
        for key, (title, about) in SECTIONS.items()
    ]


def _one_confusion_matrix(entries: list[dict[str, Any]]) -> None:
    """Put the matrix in per cent behind a switch of the one in counts."""
    found = {entry["figure"].name: entry for entry in entries}
    counts, percents = found.get("confusion"), found.get("confusion_normalized")
    if counts and percents and counts["chart"] and percents["chart"]:
        counts["other"] = percents
        entries.remove(percents)


def _chart(image: Image.Image) -> str:
    """Return a chart with its colors cut to 64, a third of the bytes that look the same."""
    palette = image.quantize(64, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return _data(palette, "PNG", optimize=False, compress_level=9)


def _tile(tile: Tile) -> dict[str, Any]:
    native = max(tile.images[0].shape[:2])
    # The page enlarges tiny images by itself, their pixels kept sharp.
    strip = tile.strip(24 if native < 24 else min(native, 96))
    height, width = strip.shape[:2]
    return {
        "tile": tile,
        "data": image(strip),
        "sharp": native < 64,
        "ratio": width / height,
        "width": width,
        "height": height,
    }


def image(pixels: np.ndarray) -> str:
    """Return uint8 [h, w, 4] as a data URI: exact where every pixel shows, else compressed."""
    exact = pixels.shape[0] <= 48
    options = {"lossless": True, "quality": 50} if exact else {"quality": 80}
    return _data(Image.fromarray(pixels), "WEBP", method=2, **options)


def _data(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _class_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    scores = ("precision", "recall", "f1", "roc_auc", "average_precision")
    content = []
    for row in rows(table):
        cells = {key: _score(row, key) for key in scores if key in row}
        content.append({"class": row["class"], "support": row["support"], "scores": cells})
    return content


def _score(row: Row, key: str) -> dict[str, Any]:
    ends = [row.get(f"{key}_{end}", math.nan) for end in ("low", "high")]
    interval = "" if any(map(math.isnan, ends)) else "–".join(f"{end:.3f}" for end in ends)
    return {"value": None if math.isnan(row[key]) else row[key], "interval": interval}


def _mistakes(results: Results, most: int) -> list[dict[str, Any]]:
    found = results.explained("mistakes", row=int, probability=float, actual_probability=float)
    return [
        {
            **row,
            "image": _tile(Tile([results.image("test", row["row"])])),
            "surely": percent(row["probability"]),
        }
        for row in found[:most]
    ]


def _point(row: Row) -> dict[str, Any]:
    keys = ("precision", "recall", "specificity", "false_positive_rate", "roc_auc",
            "average_precision")  # fmt: skip
    cells = {key: _score(row, key) for key in keys}
    return {"class": row["class"], "threshold": row["threshold"], "scores": cells}


def _coverage(row: Row) -> dict[str, Any]:
    """A target, from which probability on it holds, and what that comes to on test, as texts."""

    def text(key: str) -> str:
        return "–" if math.isnan(row[key]) else f"{100 * row[key]:.1f} %"

    def ends(key: str) -> str:
        return (
            ""
            if math.isnan(row[f"{key}_low"])
            else f"{text(f'{key}_low')} to {text(f'{key}_high')}"
        )

    known = not math.isnan(row["not_sure_below"])
    return {
        "target": f"{100 * row['target']:g} %",
        "below": f"{row['not_sure_below']:.4f}" if known else "",
        **{key: (text(key), ends(key)) for key in ("coverage", "accuracy")},
    }


def _changed(params: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Key, value and default of each parameter that is not at its default."""
    defaults = json.loads((PAGE / "defaults.json").read_text(encoding="utf-8"))
    values = flatten({key: value for key, value in params.items() if value is not None})
    return [
        (key, value, defaults[key])
        for key, value in values.items()
        if key in defaults and value != defaults[key]
    ]


def _by_section(params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The values by section; those of networks that were not used have one of their own."""
    found: dict[str, dict[str, Any]] = {}
    for section, content in params.items():
        if content is None:
            continue
        found[section] = flatten(content) if isinstance(content, Mapping) else {"": content}
    model = found.get("model", {})
    used = str(model.get("name", "")).partition("/")[0]
    others = {key: value for key, value in model.items() if key.partition(".")[0] != used}
    others = {key: value for key, value in others.items() if "." in key}
    if others:
        found["model"] = {key: value for key, value in model.items() if key not in others}
        found["model: networks that were not used"] = others
    return found


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _number(value: Any) -> str:
    """Write a value of any kind for a table: few digits, thousands apart, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"
