"""A thousand classes: tables of the likeliest, and logits that are looked at in chunks."""

import csv
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.core.errors import UserError
from classifier.core.files import write_json
from classifier.core.resize import Resize
from classifier.dataset.prepared import PreparedData
from classifier.evaluation import tables
from classifier.evaluation.evaluate import evaluate, write_metrics, write_predictions
from classifier.evaluation.label_errors import find_label_errors
from classifier.experiments.compare import compare
from classifier.experiments.ensemble import combine
from classifier.experiments.revisions import Predictions
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams
from classifier.metrics.stored_logits import stored
from classifier.models.registry import build
from classifier.models.spec import ModelSpec

CLASSES = [f"class {number:03d}" for number in range(1000)]
PARAMS = EvaluateParams(batch_size=256, top_k=5, seed=0, bootstrap_samples=10)


def prepared(folder: Path) -> PreparedData:
    """Random images of 400 of the classes, and some without a label."""
    random = np.random.default_rng(0)
    counts = {"train": 300, "val": 100, "test": 400, "unlabelled": 30}
    folder.mkdir()
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "row", "label", "width", "height"])
        for split, count in counts.items():
            labels = np.arange(count) % 1000
            np.save(folder / f"{split}.npy", random.integers(0, 256, (count, 4, 4, 1), np.uint8))
            np.save(folder / f"{split}_labels.npy", labels)
            rows = enumerate(labels.tolist())
            writer.writerows([f"{split}-{n}", split, n, CLASSES[label], 4, 4] for n, label in rows)
    meta = {"classes": CLASSES, "channels": 1, "image_size": 4, "counts": counts, "resize": "pad"}
    write_json(folder / "meta.json", meta)
    return PreparedData.open(folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_evaluate_keeps_half_the_bytes_and_the_five_likeliest_classes(tmp_path: Path) -> None:
    data = prepared(tmp_path / "prepared")
    torch.manual_seed(0)
    network = build("mlp", {"hidden": [32]}, classes=1000, channels=1, image_size=4).eval()
    spec = ModelSpec("mlp", {}, tuple(CLASSES), 1, 4, Resize("pad"), (0.5,), (0.25,), 1.3)
    evaluation = evaluate(network, spec, data, PARAMS, torch.device("cpu"))
    write_predictions(evaluation, data, tmp_path / "predictions")
    write_metrics(evaluation, PARAMS, tmp_path / "metrics")
    for split, count in (("val", 100), ("test", 400), ("unlabelled", 30)):
        logits = np.load(tmp_path / f"predictions/{split}_logits.npy")
        assert logits.shape == (count, 1000)
        assert logits.dtype == np.float16
    rows = rows_of(tmp_path / "predictions/predictions.csv")
    places = ["", "_2", "_3", "_4", "_5"]
    said = [f"{name}{place}" for place in places for name in ("predicted", "probability")]
    assert list(rows[0]) == ["id", "actual", *said]
    assert list(rows_of(tmp_path / "predictions/unlabelled.csv")[0]) == ["id", *said]
    test = evaluation.outcomes["test"]
    for row, told in enumerate(rows):
        assert told["actual"] == CLASSES[test.labels[row]]
        assert told["predicted"] == CLASSES[test.predicted[row]]
        likely = [float(told[f"probability{place}"]) for place in places]
        assert likely == sorted(likely, reverse=True)
        assert likely[0] == pytest.approx(test.calibrated_confidence[row], rel=1e-5)
    assert len(rows_of(tmp_path / "metrics/per_class.csv")) == 1000


IMAGES = 12_000  # 24 MB of stored logits, 96 MB in double precision


@pytest.fixture(scope="module")
def members() -> list[Predictions]:
    labels = np.arange(IMAGES) % 1000
    ids = np.arange(IMAGES).astype(str)
    made = []
    for seed in range(3):
        logits = np.random.default_rng(seed).normal(size=(IMAGES, 1000)).astype(np.float32)
        logits[np.arange(IMAGES), labels] += 3
        kept = stored(logits)
        made.append(Predictions(str(seed), {}, "test", tuple(CLASSES), ids, labels, kept))
    return made


def peak_of(work: Callable[[], object]) -> float:
    """MB that the work takes at most beside what is there already."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


@pytest.mark.slow
def test_ensemble_compare_and_tables_hold_logits_in_chunks(
    members: list[Predictions], tmp_path: Path
) -> None:
    first, labels = members[0], members[0].labels
    ids = first.ids.tolist()
    path = tmp_path / "t.csv"
    combined = combine("mean", [], 3)([part.logits for part in members])
    assert combined.dtype == np.float16
    right = [(part.argmax(1) == labels).mean() for part in (first.logits, combined)]
    assert right[1] > right[0] + 0.1
    assert peak_of(lambda: combine("mean", [], 3)([part.logits for part in members])) < 120
    assert peak_of(lambda: combine("weighted", members, 3)) < 120
    assert peak_of(lambda: compare(members[:2], PARAMS)) < 120
    assert peak_of(lambda: find_label_errors(first.logits, labels)) < 200
    assert peak_of(lambda: tables.write_predictions(path, ids, first.logits, CLASSES, labels)) < 80


def test_curves_of_more_images_take_no_more_memory() -> None:
    random = np.random.default_rng(0)
    outcomes = Outcomes(random.random((60_000, 100), np.float32), random.integers(0, 100, 60_000))
    assert peak_of(lambda: tables.pr(outcomes, CLASSES[:100])) < 200


def test_stacking_of_many_classes_is_refused(members: list[Predictions]) -> None:
    with pytest.raises(UserError, match="1,000 are too many: choose weighted or mean"):
        combine("stacking", members, 3)
