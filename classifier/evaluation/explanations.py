"""Write ``data/explain/``; docs/pipeline.md describes the files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from classifier.core.arrays import write_arrays
from classifier.core.csv_files import write_table
from classifier.core.files import write_json
from classifier.core.types import Float64Array
from classifier.dataset.prepared import PreparedData
from classifier.evaluation.embedding import principal_plane
from classifier.evaluation.evaluate import Evaluation
from classifier.evaluation.grad_cam import feature_maps, first_filters, grad_cam
from classifier.evaluation.label_errors import error_probabilities, find_label_errors
from classifier.evaluation.mistakes import confident_mistakes, confused_pairs, least_certain
from classifier.evaluation.neighbors import beside, leaks
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams
from classifier.models.classifier import Classifier
from classifier.models.forward import normalize
from classifier.models.spec import ModelSpec

HEAT_MAPS = 8  # of right predictions, and as many of wrong ones


def write_explanations(
    evaluation: Evaluation,
    network: Classifier,
    spec: ModelSpec,
    data: PreparedData,
    params: EvaluateParams,
    device: torch.device,
    folder: Path,
) -> None:
    """Write every file of the folder; what does not apply to this network is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    test, classes, ids = evaluation.outcomes["test"], evaluation.classes, data.ids("test")
    most = params.examples
    mistakes = confident_mistakes(test, ids, classes, most)
    uncertain = least_certain(test, ids, classes, most)
    doubtful = label_errors(evaluation, data, most)
    write_table(folder / "mistakes.csv", mistakes)
    write_table(folder / "uncertain.csv", uncertain)
    write_table(folder / "confused_pairs.csv", confused_pairs(test, classes, most))
    write_table(folder / "label_errors.csv", doubtful)
    tested = pd.concat([mistakes, uncertain]).assign(split="test")
    shown = pd.concat([tested, doubtful])[["split", "row"]]
    write_table(folder / "neighbors.csv", beside(evaluation, data, shown))
    copies, number = leaks(evaluation, data, most)
    write_table(folder / "leaks.csv", copies)

    def standardized(rows: Sequence[int]) -> Tensor:
        images = torch.from_numpy(data.images("test")[rows]).to(device)
        return normalize(images, spec.mean, spec.std)

    plane, fractions = principal_plane(evaluation.embeddings)
    write_table(folder / "embedding.csv", embedding(evaluation, plane, ids))
    rows = examples(test, params.seed)
    heat = grad_cam(network, standardized(rows), test.predicted[rows].tolist())
    if heat is not None:
        np.save(folder / "gradcam_heat.npy", heat.heat)
        np.save(folder / "gradcam_images.npy", data.images("test")[rows])
        write_table(folder / "gradcam.csv", heat_rows(test, rows, ids, classes))
    filters = first_filters(network)
    if filters is not None:
        np.save(folder / "filters.npy", filters)
    maps = feature_maps(network, standardized(rows[:1]))
    if maps:
        image = data.images("test")[rows[0]]
        write_arrays(folder / "feature_maps.npz", {"image": image, **maps})
    write_json(
        folder / "explain.json",
        {
            "gradcam_stage": heat.stage if heat else None,
            "embedding_variance": fractions,
            "leaks": number,
            "neighbors_among": len(evaluation.embedded["train"].rows)
            if "train" in evaluation.embedded
            else 0,
        },
    )


def examples(test: Outcomes, seed: int) -> list[int]:
    """Up to HEAT_MAPS right and as many wrong test rows, drawn at random, right ones first."""
    generator = np.random.default_rng(seed)
    rows: list[int] = []
    for group in (np.flatnonzero(test.right), np.flatnonzero(~test.right)):
        rows += generator.permutation(group)[:HEAT_MAPS].tolist()
    return rows


def label_errors(evaluation: Evaluation, data: PreparedData, most: int) -> pd.DataFrame:
    """Likely label errors of val and test together, most suspicious first.

    Both are images that the weights were not fitted to, and together they give the thresholds of
    confident learning a better footing.
    """
    splits = [split for split in ("val", "test") if split in evaluation.outcomes]
    parts = [evaluation.outcomes[split] for split in splits]
    logits = np.concatenate([part.logits for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    found = find_label_errors(logits, labels, parts[0].temperature or 1.0)
    counts = [len(part.labels) for part in parts]
    names = np.array(evaluation.classes)
    places = pd.DataFrame(
        {
            "id": [name for split in splits for name in data.ids(split)],
            "split": np.repeat(splits, counts),
            "row": np.concatenate([np.arange(count) for count in counts]),
            "given": names[labels],
        }
    )
    wrong = error_probabilities(logits, labels)[found.rows]
    doubtful = places.iloc[found.rows].assign(
        suggested=names[found.suggested], score=found.score, error_probability=wrong
    )
    return doubtful.head(most)


def embedding(evaluation: Evaluation, plane: Float64Array, ids: Sequence[str]) -> pd.DataFrame:
    """One line a sampled test image: row, id, x, y, actual, predicted."""
    test, rows = evaluation.outcomes["test"], evaluation.embedding_rows
    names = np.array(evaluation.classes)
    return pd.DataFrame(
        {
            "row": rows,
            "id": [ids[row] for row in rows],
            "x": plane[:, 0],
            "y": plane[:, 1],
            "actual": names[test.labels[rows]],
            "predicted": names[test.predicted[rows]],
        }
    )


def heat_rows(
    test: Outcomes, rows: Sequence[int], ids: Sequence[str], classes: Sequence[str]
) -> pd.DataFrame:
    """One line a heat map: index, row, id, actual, predicted, probability, right."""
    names, at = np.array(classes), np.array(rows, np.int64)
    return pd.DataFrame(
        {
            "index": np.arange(len(at)),
            "row": at,
            "id": [ids[row] for row in at],
            "actual": names[test.labels[at]],
            "predicted": names[test.predicted[at]],
            "probability": test.calibrated_confidence[at],
            "right": test.right[at].astype(int),
        }
    )
