"""The model card: what the model is, how good, for what, in the form of the Hugging Face Hub.

Format: https://huggingface.co/docs/hub/model-cards (front matter with a model-index).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml

from classifier.core.files import replacing
from classifier.core.resize import resize_in
from classifier.core.wording import printable
from classifier.report.metric_table import Metric, test_metrics
from classifier.report.results import Results, rows

PAGE = Path(__file__).with_name("card")
WEAKEST = 5
FEW = 100  # training images of a class below which its figures deserve a warning
TYPES = {"accuracy": "accuracy", "f1_macro": "f1", "precision_macro": "precision",
         "recall_macro": "recall"}  # fmt: skip
NUMERICS = {
    "portable": "portable: the same bytes on every x86-64 processor with AVX2",
    "fast": "fast: the bytes of one kind of processor",
}


def write_model_card(path: Path, results: Results) -> None:
    """Write the card of the run's model to ``path``; the same results give the same bytes."""
    environment = jinja2.Environment(  # noqa: S701 (Markdown, which `_inline` escapes)
        loader=jinja2.FileSystemLoader(PAGE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["join"] = lambda names, mark: mark.join(_inline(name) for name in names)
    details = results.metrics("details")
    metrics = test_metrics(details)
    source, meta = results.source, results.data.meta
    summary, train = results.summary, results.metrics("train")
    counts = ", ".join(f"{count:,} {split}" for split, count in meta["counts"].items())
    facts = {"source": source.get("name", "unknown"), "images": counts}
    if source.get("homepage"):
        facts["homepage"] = source["homepage"]
    confidence = details.get("bootstrap", {}).get("confidence", 0.95)
    front = yaml.safe_dump(
        _front(source, metrics), sort_keys=False, allow_unicode=True, width=1000
    ).strip()
    text = environment.get_template("card.md.j2").render(
        front=front,
        name=summary.get("name", "model"),
        title=source.get("name", "image classifier"),
        network=summary.get("name", "neural"),
        parameters=summary.get("parameters", train.get("parameters", 0)),
        classes=results.data.classes,
        description=source.get("description", ""),
        facts=facts,
        images=len(results.actual),
        confidence=f"{100 * confidence:g} %",
        metrics=metrics,
        weakest=_weakest(results),
        channels=meta["channels"],
        size=meta["image_size"],
        resize=resize_in(meta),
        decision=details.get("decision"),
        answers=details.get("answers"),
        rule=_rule(details),
        limits=_limits(results),
        training=_training(results.params, train, summary),
        license=source.get("license", ""),
        citation=source.get("citation", ""),
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _front(source: Mapping[str, Any], metrics: list[Metric]) -> dict[str, Any]:
    measured = [
        {"type": TYPES.get(metric.key, metric.key), "name": metric.name, "value": metric.value}
        for metric in metrics
    ]
    dataset = {"name": source.get("name", "unknown"), "type": _slug(source.get("name", "unknown"))}
    result = {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {**dataset, "split": "test"},
        "metrics": measured,
    }
    return {
        "license": "unknown",  # the Hub's word for it: whoever publishes the model decides
        "library_name": "pytorch",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "dvc", "safetensors"],
        "metrics": ["accuracy", "f1"],
        "model-index": [{"name": f"{dataset['type']}-classifier", "results": [result]}],
    }


def _slug(name: str) -> str:
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return "-".join(part for part in kept.split("-") if part) or "unknown"


def _weakest(results: Results) -> list[dict[str, str]]:
    table = results.per_class
    if table.empty:
        return []
    table = table.dropna(subset="f1").sort_values(["f1", "class"]).head(WEAKEST)
    keys = ("f1", "precision", "recall")
    return [
        {
            "name": _inline(row["class"]),
            "support": f"{row['support']}",
            **{key: "–" if math.isnan(row[key]) else f"{row[key]:.3f}" for key in keys},
        }
        for row in rows(table)
    ]


def _rule(details: Mapping[str, Any]) -> str:
    """What is said of the thresholds that classes have, "" where they have none."""
    decision, point = details.get("decision") or {}, details.get("positive")
    if not decision.get("thresholds"):
        return ""
    rule = f"chosen on validation by the rule `{decision['rule']}`"
    if decision["positive_class"] is None or not point:
        return (
            "A class is answered where its probability reaches its own threshold, "
            f"{rule}; where none does, the answer is *not sure*."
        )
    return (
        f"{_inline(decision['positive_class'])} is the answer from a probability of "
        f"{point['threshold']:.4g} on, {rule}: precision {point['precision']:.4f} and recall "
        f"{point['recall']:.4f} on test."
    )


def _limits(results: Results) -> list[str]:
    """Return what the run's own figures warn of."""
    limits = []
    number = len(results.data.classes)
    labels = results.data.labels("train")
    counts = np.bincount(labels, minlength=number).tolist()
    few = sum(count < FEW for count in counts)
    if few:
        who = "every class" if few == number else f"{few} of {number} classes"
        limits.append(f"Little data: {who} had fewer than {FEW} images to learn from.")
    if max(counts) > 3 * max(1, min(counts)):
        limits.append(
            f"Uneven classes: from {min(counts):,} to {max(counts):,} training images; rare "
            "classes are known less well."
        )
    across = results.metrics("quality").get("near_duplicates_across_splits", 0)
    if across:
        pairs = "pair" if across == 1 else "pairs"
        limits.append(
            f"{across:,} {pairs} of near-duplicates lie across splits: the figures may flatter."
        )
    return limits


def _training(
    params: Mapping[str, Any], train: Mapping[str, Any], summary: Mapping[str, Any]
) -> dict[str, Any]:
    section = params.get("train") or {}
    names = {"optimizer": "optimizer", "lr": "learning rate", "schedule": "schedule",
             "batch_size": "batch size", "epochs": "epochs", "seed": "seed"}  # fmt: skip
    found = {text: section[key] for key, text in names.items() if key in section}
    if "best_epoch" in train:
        found["epoch that was kept"] = train["best_epoch"]
    if "numerics" in summary:
        found["numerics"] = NUMERICS[summary["numerics"]]
    return found


def _inline(text: str) -> str:
    """Keep a class name from being read as Markdown, or as HTML by what shows it unread."""
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    return "".join(
        entities.get(letter) or (f"\\{letter}" if letter in "\\`*_{}[]#|" else letter)
        for letter in printable(str(text))
    )
