"""predict, serve, an ONNX file and evaluate give every test image the same answer."""

import contextlib
import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classifier import cli
from classifier.core.files import read_json, write_json
from classifier.dataset.prepared import PreparedData
from classifier.evaluation.evaluate import evaluate, write_metrics, write_predictions
from classifier.inference.onnx_backend import OnnxPredictor
from classifier.metrics.scoring import EvaluateParams
from classifier.models import decision, model_file
from tests.support.prepared_digits import prepared_digits
from tests.support.servers import png, serving
from tests.support.training_runs import fit
from tools import ROOT

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytest.importorskip("onnx")


@dataclass(frozen=True)
class Project:
    """A folder as `evaluate` leaves it, with the test images as files, in order."""

    folder: Path
    images: list[bytes]
    evaluated: list[dict[str, str]]
    decision: decision.Decision


WISHES: dict[str, dict[str, object]] = {
    "two classes": {"threshold": "recall>=0.95"},
    "two classes, not all sure": {"threshold": "max_f1", "target_accuracy": 0.96},
    "ten classes": {"threshold": "precision>=0.9", "target_accuracy": 0.94},
}


@pytest.fixture(scope="module", params=WISHES)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("decided")
    data = prepared_digits(folder / "data/prepared")
    if request.param != "ten classes":  # one against nine others
        data = _eights(folder / "data/prepared")
    wish = WISHES[request.param]
    params = EvaluateParams(batch_size=64, top_k=1, seed=0, bootstrap_samples=20, **wish)  # type: ignore[arg-type]
    trained = fit(data)
    (folder / "models").mkdir()
    model = folder / "models/model.safetensors"
    model_file.save(model, trained.network, trained.spec())
    network, spec = model_file.load(model)
    found = evaluate(network, spec, data, params, torch.device("cpu"))
    write_predictions(found, data, folder / "data/predictions")
    write_metrics(found, params, folder / "metrics")
    decision.write(model, found.decision)
    assert found.decision is not None
    with contextlib.chdir(folder):
        for kind, name in (("onnx", "alone.onnx"), ("model", "alone.safetensors")):
            assert cli.main(["export", "--format", kind, "--out", name]) == 0
    images = [png(image) for image in data.images("test")]
    (folder / "images").mkdir()
    for row, image in enumerate(images):
        (folder / f"images/{row:04}.png").write_bytes(image)
    with (folder / "data/predictions/predictions.csv").open() as file:
        return Project(folder, images, list(csv.DictReader(file)), found.decision)


def _eights(folder: Path) -> PreparedData:
    for split in ("train", "val", "test"):
        labels = np.load(folder / f"{split}_labels.npy")
        np.save(folder / f"{split}_labels.npy", (labels == 8).astype(np.int64))
    write_json(folder / "meta.json", {**read_json(folder / "meta.json"), "classes": ["no", "yes"]})
    return PreparedData.open(folder)


@pytest.fixture(autouse=True)
def inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_the_decision_changes_some_answers(project: Project) -> None:
    changed = [row["answer"] for row in project.evaluated if row["answer"] != row["predicted"]]
    assert 0 < len(changed) < len(project.evaluated)
    assert ("not sure" in changed) == (project.decision.target_accuracy is not None)
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    sure = [row for row in project.evaluated if row["answer"] != "not sure"]
    right = sum(row["answer"] == row["actual"] for row in sure)
    assert metrics["answers"] == pytest.approx(
        {"coverage": len(sure) / len(project.evaluated), "accuracy": right / len(sure)}, rel=1e-5
    )
    if project.decision.positive_class:
        point = metrics["positive"]
        assert point["class"] == "yes"
        assert point["threshold"] == pytest.approx(project.decision.thresholds["yes"], rel=1e-5)


@pytest.mark.parametrize("model", ["models/model.safetensors", "alone.onnx"])
def test_predict_says_what_evaluate_said(project: Project, model: str) -> None:
    command = ["predict", "images", "--top", "2", "--model", model]
    assert cli.main([*command, "--out", "found.csv", "--gallery", "found.html"]) == 0
    assert cli.main([*command, "--out", "found.json", "--submission", "submission.csv"]) == 0
    with Path("found.csv").open() as file:
        rows = list(csv.DictReader(file))
    for key in ("answer", "predicted"):
        assert [row[key] for row in rows] == [row[key] for row in project.evaluated]
    said = json.loads(Path("found.json").read_text())
    assert [one["answer"] or "not sure" for one in said] == [row["answer"] for row in rows]
    assert all(len(one["classes"]) == 2 for one in said)  # the first guesses are still there
    with Path("submission.csv").open() as file:
        given = [row["label"] for row in csv.DictReader(file)]
    sure = [(found, row["answer"]) for found, row in zip(given, rows, strict=True)]
    assert all(found == answer for found, answer in sure if answer != "not sure")
    assert "not sure" not in given
    unsure = sum(row["answer"] == "not sure" for row in rows[:300])  # as many are in a gallery
    assert Path("found.html").read_text().count("<b>not sure: ") == unsure


def test_the_terminal_says_it_too(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "images", "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, row in zip(lines, project.evaluated, strict=True):
        assert line.split(maxsplit=1)[1].startswith(row["answer"]), line


@pytest.mark.parametrize("model", ["models/model.safetensors", "alone.onnx"])
def test_serve_says_what_evaluate_said(project: Project, model: str) -> None:
    found = []
    with serving(project.folder, "--model", model) as server:
        assert httpx.get(f"{server.url}/model").json()["decision"] == asdict(project.decision)
        for start in range(0, len(project.images), 64):
            part = project.images[start : start + 64]
            form = [("pictures", (f"{n}.png", image)) for n, image in enumerate(part)]
            answer = httpx.post(f"{server.url}/predict", files=form, timeout=60)
            found += answer.json()["predictions"]
        broken = [("pictures", ("x.png", b"x")), ("pictures", ("0.png", project.images[0]))]
        skipped, _ = httpx.post(f"{server.url}/predict", files=broken).json()["predictions"]
        assert skipped["answer"] is None
    assert [one["answer"] or "not sure" for one in found] == [
        row["answer"] for row in project.evaluated
    ]
    assert [one["classes"][0]["class"] for one in found] == [
        row["predicted"] for row in project.evaluated
    ]


def test_exported_files_carry_the_decision_by_themselves(project: Project) -> None:
    predictor = OnnxPredictor("alone.onnx")
    assert predictor.spec.decision == project.decision
    images = np.stack([np.asarray(Image.open(f"images/{n:04}.png")) for n in range(64)])
    answers = project.decision.texts(
        predictor.probabilities(images[..., None]), predictor.spec.classes
    )
    assert answers == [row["answer"] for row in project.evaluated[:64]]
    command = ["predict", "images", "--model", "alone.safetensors", "--out", "found.csv"]
    assert cli.main(command) == 0
    with Path("found.csv").open() as file:
        found = [row["answer"] for row in csv.DictReader(file)]
    assert found == [row["answer"] for row in project.evaluated]
