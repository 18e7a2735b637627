"""Score a model on the splits of a data set: the network runs once, all else is arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classifier.core.arrays import write_arrays
from classifier.core.csv_files import write_table
from classifier.core.engine import on_ray
from classifier.core.errors import UserError
from classifier.core.files import replacing, sha256, write_json
from classifier.core.types import AnyArray, Float32Array, FloatArray, Int64Array
from classifier.core.value_range import ranges_in
from classifier.dataset.prepared import PreparedData
from classifier.evaluation import tables
from classifier.evaluation.answers import (
    Answers,
    answers,
    answers_of_cluster,
    answers_of_embeddings,
)
from classifier.evaluation.decide import Measured, decide, measure, positive_label
from classifier.metrics.neighbors import Embedded, unit
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, Scores, headline, score
from classifier.models.classifier import Classifier
from classifier.models.decision import Decision
from classifier.models.forward import together
from classifier.models.kept_embeddings import KeptEmbeddings
from classifier.models.spec import ModelSpec
from classifier.models.temperature import fit_temperature

PLANE_BYTES = 1 << 29  # of embeddings that make the principal plane, in double precision
EMBEDDED_BYTES = 1 << 28  # of a split's embeddings, in single precision


@dataclass(frozen=True)
class Evaluation:
    """What the network said about each split, and the figures of those that have labels.

    ``outcomes`` and ``scores`` have the keys test and, where there are such images, val and
    train.
    ``embedded`` has the directions of the embeddings of each split that there is, unlabelled
    included: of all images up to ``EMBEDDED_BYTES``, of train those that were scored.
    ``embedding_rows`` [n] are test rows, ``embeddings`` [n, D] what the last layer saw of them.
    ``model`` is the file of the network, where it has one. ``decision`` is what ``params`` ask for
    beyond the most probable class.
    """

    classes: list[str]
    outcomes: Mapping[str, Outcomes]
    scores: Mapping[str, Scores]
    decision: Decision | None
    unlabelled: FloatArray | None
    embedded: Mapping[str, Embedded]
    embedding_rows: Int64Array
    embeddings: Float32Array
    model: Path | None = None


def evaluate(
    network: Classifier,
    spec: ModelSpec,
    data: PreparedData,
    params: EvaluateParams,
    device: torch.device,
    model: Path | None = None,
    features: Path | None = None,
) -> Evaluation:
    """Run the network over test, val, unlabelled and a sample of train, and score what has labels.

    Without ``params.test_time_augmentation``, a network that answers by several views of an image
    answers by one from here on, with a temperature of its own, fitted on val.

    Where the environment asks for Ray, its workers run the network, from the file ``model`` that
    it was loaded from.

    Args:
        features: a folder in which `KeptEmbeddings` may have those of the network's backbone: then
            only images that are not among them go through the network, and each bit is the same.

    Raises:
        UserError: no test images, a model of other classes or images than the data, or thresholds
            that validation cannot give.
    """
    _check(spec, data)
    positive_label(data.classes, params)
    other_views = network.test_time_augmentation != "none" and not params.test_time_augmentation
    if other_views and (params.threshold, params.target_accuracy) != (None, None):
        raise UserError(
            "evaluate.test_time_augmentation is false, and evaluate.threshold and "
            "evaluate.target_accuracy are for the answers that the model gives with it: set it to "
            "true, or these to null."
        )
    if other_views:
        network.test_time_augmentation = "none"

    kept = None
    if features and network.test_time_augmentation == "none" and not on_ray():
        kept = KeptEmbeddings(features, network, spec, data, device)

    width = network.last_linear.in_features
    embedded: dict[str, Embedded] = {}

    def ask(split: str, seen: Int64Array | None = None) -> Answers:
        """What the network says about a split, or about the rows ``seen`` of it."""
        images = data.images(split) if seen is None else data.images(split).select(seen)
        rows = _sample(len(images), EMBEDDED_BYTES // (4 * width), params.seed)
        if kept and kept.known:
            part = None if seen is None or len(seen) == data.meta["counts"][split] else seen
            embeddings = kept.of(split, params.batch_size, rows=part)
            step = together(network, images.shape[1:], params.batch_size)
            found = answers_of_embeddings(network, embeddings, step, device, rows)
        elif model and on_ray():
            found = answers_of_cluster(network, model, params, images, rows)
        else:
            found = answers(network, spec, device, params.batch_size, images, rows)
        embedded[split] = Embedded(rows if seen is None else seen[rows], unit(found.embeddings))
        return found

    test = ask("test")
    most = min(params.embedding_images, PLANE_BYTES // (8 * width))
    in_plane = _sample(len(test.embeddings), most, params.seed)
    rows, embeddings = embedded["test"].rows[in_plane], test.embeddings[in_plane]
    logits, labels = {"test": test.logits}, {"test": data.labels("test")}
    del test  # and with it the embeddings of all images in single precision
    if "val" in data.splits:
        logits["val"], labels["val"] = ask("val").logits, data.labels("val")
    seen = _sample(data.meta["counts"]["train"], params.train_images, params.seed)
    if len(seen):
        logits["train"] = ask("train", seen).logits
        labels["train"] = data.labels("train")[seen]
    temperature: float | None = spec.temperature
    if other_views:
        temperature = fit_temperature(logits["val"], labels["val"]) if "val" in logits else None
    outcomes = {
        split: Outcomes(found, labels[split], temperature) for split, found in logits.items()
    }
    return Evaluation(
        classes=data.classes,
        outcomes=outcomes,
        decision=decide(outcomes.get("val"), data.classes, params),
        scores={split: score(found, params) for split, found in outcomes.items()},
        unlabelled=ask("unlabelled").logits if "unlabelled" in data.splits else None,
        embedded=embedded,
        embedding_rows=rows,
        embeddings=embeddings,
        model=model,
    )


def _check(spec: ModelSpec, data: PreparedData) -> None:
    if "test" not in data.splits:
        raise UserError(
            "data/prepared has no test images to evaluate on: set split.test_fraction above 0, "
            "or give the test images labels."
        )
    facts = ("classes", "channels", "image_size")
    wrong = [name for name in facts if _plain(getattr(spec, name)) != data.meta[name]]
    wrong += ["value_range"] if spec.value_range != ranges_in(data.meta) else []
    if wrong:
        raise UserError(
            f"models/model.safetensors was trained on other data (its {wrong[0]} differs from "
            "data/prepared): run dvc repro train."
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _sample(count: int, most: int, seed: int) -> Int64Array:
    """Up to ``most`` of ``count`` rows, drawn at random, ascending."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def write_predictions(evaluation: Evaluation, data: PreparedData, folder: Path) -> None:
    """Write {val,test,unlabelled}_logits.npy, embeddings.npz, predictions.csv, unlabelled.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("val", "test"):
        if split in evaluation.outcomes:
            np.save(folder / f"{split}_logits.npy", evaluation.outcomes[split].logits)
    digest = sha256(evaluation.model) if evaluation.model else ""
    arrays: dict[str, AnyArray] = {"model": np.array(digest)}
    for split, found in evaluation.embedded.items():
        arrays |= {f"{split}_rows": found.rows, split: found.vectors}
    write_arrays(folder / "embeddings.npz", arrays)
    test, classes, decision = evaluation.outcomes["test"], evaluation.classes, evaluation.decision
    scale = test.temperature or 1.0
    path, ids, labels = folder / "predictions.csv", data.ids("test"), test.labels
    tables.write_predictions(path, ids, test.logits, classes, labels, scale, decision)
    if evaluation.unlabelled is not None:
        np.save(folder / "unlabelled_logits.npy", evaluation.unlabelled)
        ids, logits = data.ids("unlabelled"), evaluation.unlabelled
        path = folder / "unlabelled.csv"
        tables.write_predictions(path, ids, logits, classes, None, scale, decision)


def write_metrics(evaluation: Evaluation, params: EvaluateParams, folder: Path) -> Measured:
    """Write evaluate.json, details.json, per_class.csv, plots/*.csv and tables/*.csv."""
    test, scores, classes = evaluation.outcomes["test"], evaluation.scores, evaluation.classes
    found = measure(evaluation.outcomes, scores["test"], evaluation.decision, classes, params)
    aurc = dict(zip(("value", "low", "high"), found.aurc, strict=True))
    write_json(folder / "evaluate.json", {**headline(scores["test"]), **found.headline})
    details: dict[str, Any] = {
        "bootstrap": {
            "confidence": params.confidence,
            "samples": params.bootstrap_samples,
            "samples_of_ranking": scores["test"].ranking_samples,
        },
        "images": {split: len(part.labels) for split, part in evaluation.outcomes.items()},
        "temperature": test.temperature,
        **{split: figures.table() for split, figures in scores.items()},
        **found.details,
    }
    details["test"]["aurc"] = aurc
    write_json(folder / "details.json", details)
    write_table(folder / "per_class.csv", tables.per_class(test, scores["test"], classes))
    with replacing(folder / "plots") as plots:
        plots.mkdir()
        write_table(plots / "confusion.csv", tables.confusion(test, classes))
        lines = {
            "roc": tables.roc(test, classes),
            "pr": tables.pr(test, classes),
            "reliability": tables.reliability_bins(test, params.calibration_bins),
            **found.plots,
        }
        for name, table in lines.items():
            write_table(plots / f"{name}.csv", table, missing="nan")
    with replacing(folder / "tables") as tables_of_decisions:
        tables_of_decisions.mkdir()
        for name, table in found.tables.items():
            write_table(tables_of_decisions / f"{name}.csv", table, missing="nan")
    return found
