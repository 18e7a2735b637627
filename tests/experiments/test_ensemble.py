"""Ensembles: what is fitted is the optimum, and one model file does what the arrays did."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize

from classifier.cli import main
from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.dataset.prepared import PreparedData
from classifier.experiments.ensemble import (
    Combination,
    combine,
    fit_weights,
    log_probabilities,
    save_model,
)
from classifier.models import model_file
from classifier.models.registry import build
from classifier.models.spec import ModelSpec
from tests.experiments.test_compare import made_up
from tests.support import toy_project, workspace
from tests.support.toy_project import Toy
from tests.support.workspace import Workspace


def loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-log_probabilities(logits)[np.arange(len(labels)), labels].mean())


def test_the_mean_is_of_probabilities() -> None:
    parts = [made_up("a", 0.4, 1), made_up("b", 0.6, 2)]
    logits = combine("mean", [], 2)([part.logits for part in parts])
    expected = np.mean([np.exp(log_probabilities(part.logits)) for part in parts], axis=0)
    np.testing.assert_allclose(np.exp(logits), expected, rtol=1e-5)


def test_weights_are_the_optimum_that_a_general_solver_finds() -> None:
    parts = [made_up("a", 0.3, 1), made_up("b", 0.6, 2), made_up("c", 0.5, 3)]
    labels = parts[0].labels
    logs = [log_probabilities(part.logits) for part in parts]
    own = np.exp(np.stack([log[np.arange(len(labels)), labels] for log in logs], axis=1))
    weights = fit_weights(own)
    assert weights.sum() == pytest.approx(1)
    found = minimize(
        lambda w: -np.log(own @ w).mean(),
        np.full(3, 1 / 3),
        bounds=[(0, 1)] * 3,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
    )
    np.testing.assert_allclose(weights, found.x, atol=2e-3)


@pytest.mark.parametrize("method", ["mean", "weighted", "stacking"])
def test_three_models_beat_their_best_member(method: str) -> None:
    val = [made_up(str(seed), 0.5, seed, 600) for seed in (1, 2, 3)]
    combination = combine(method, val, 3)  # type: ignore[arg-type]
    test = [made_up(str(seed), 0.5, seed + 10, 600) for seed in (1, 2, 3)]
    labels = test[0].labels
    logits = combination([part.logits for part in test])
    best = max((part.logits.argmax(1) == labels).mean() for part in test)
    assert (logits.argmax(1) == labels).mean() > best + 0.02
    assert loss(logits, labels) < min(loss(part.logits, labels) for part in test)


def test_stacking_mends_a_member_that_swaps_two_classes() -> None:
    swapped = made_up("swapped", 0.8, 1)
    swapped.logits[:] = swapped.logits[:, [1, 0, 2]]
    parts = [swapped, made_up("weak", 0.2, 2)]
    logits = combine("stacking", parts, 2)([part.logits for part in parts])
    assert (logits.argmax(1) == parts[0].labels).mean() > 0.85


def test_stacking_with_two_classes_and_with_too_few_images() -> None:
    parts = [made_up(str(seed), 0.5, seed) for seed in (1, 2)]
    keep = parts[0].labels < 2
    for part in parts:
        object.__setattr__(part, "logits", part.logits[keep][:, :2])
        object.__setattr__(part, "labels", part.labels[keep])
        object.__setattr__(part, "ids", part.ids[keep])
    logits = combine("stacking", parts, 2)([part.logits for part in parts])
    assert logits.shape == (keep.sum(), 2)
    assert loss(logits, parts[0].labels) < min(loss(p.logits, p.labels) for p in parts)
    few = [made_up(str(seed), 0.5, seed, 4) for seed in (1, 2)]
    with pytest.raises(UserError, match="at least 2 validation images of every class"):
        combine("stacking", few, 2)


def model(path: Path, seed: int, name: str, **changes: object) -> Path:
    torch.manual_seed(seed)
    args = {"filters": [8], "dense_units": 8} if name == "cnn" else {}
    network = build(name, args, classes=3, channels=1, image_size=8)
    torch.nn.init.normal_(network.last_linear.weight)
    facts = {"channels": 1, "image_size": 8, "resize": Resize(), "mean": (0.1 * seed,)}
    spec = {**facts, "classes": ("a", "b", "c"), "std": (0.5,), **changes}
    model_file.save(path, network, ModelSpec(name=name, args=args, **spec))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("method", ["mean", "weighted", "stacking"])
def test_one_file_says_what_the_arrays_said(tmp_path: Path, method: str) -> None:
    members = [
        model(tmp_path / "1.safetensors", 1, "cnn"),
        model(tmp_path / "2.safetensors", 2, "mlp"),
    ]
    images = torch.rand(50, 1, 8, 8)
    alone = []
    for path in members:
        network, spec = model_file.load(path)
        with torch.inference_mode():
            alone.append(network((images - spec.mean[0]) / spec.std[0]).numpy())
    generator = np.random.default_rng(0)
    combination = {
        "mean": combine("mean", [], 2),
        "weighted": Combination("weighted", np.array([0.3, 0.7])),
        "stacking": Combination("stacking", generator.normal(size=(3, 6)), np.array([1.0, 0, 2])),
    }[method]
    path = tmp_path / "both.safetensors"
    save_model(path, members, combination, [])
    network, spec = model_file.load(path)
    assert (spec.name, spec.classes, spec.image_size) == ("ensemble", ("a", "b", "c"), 8)
    with torch.inference_mode():
        together = network((images - spec.mean[0]) / spec.std[0]).numpy()
    np.testing.assert_allclose(together, combination(alone), atol=1e-5)
    again = path.read_bytes()
    save_model(path, members, combination, [])
    assert path.read_bytes() == again


def test_members_that_want_other_images_are_refused(tmp_path: Path) -> None:
    first = model(tmp_path / "1.safetensors", 1, "mlp")
    for key, value in (("classes", ("a", "b", "d")), ("resize", Resize("crop"))):
        other = model(tmp_path / "2.safetensors", 2, "mlp", **{key: value})
        with pytest.raises(UserError, match=f"another {key} than the first"):
            save_model(tmp_path / "x.safetensors", [first, other], combine("mean", [], 2), [])


def test_the_command_combines_experiments(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    for seed in (1, 2):
        project.experiment(f"seed-{seed}", f"train.seed={seed}")
    names = ["main", "seed-1", "seed-2"]
    for method in ("mean", "weighted", "stacking"):
        facts = json.loads(project.classifier("ensemble", *names, "--method", method, "--json"))
        test = facts["test"]
        assert test["ensemble"]["accuracy"][0] > max(test[name]["accuracy"][0] for name in names)
        assert facts["verdict"] == "better"
    printed = project.classifier("ensemble", *names, "--method", "weighted", "--logits", "out/all")
    assert "weighted of 3 against" in printed
    saved = np.load(project.path / "out/all/test_logits.npy")
    assert saved.shape == (400, 3)
    assert (project.path / "out/all/val_logits.npy").is_file()
    assert json.loads(project.read("out/all/ensemble.json"))["weights"].keys() == set(names)

    assert "needs two or more" in project.refused("ensemble", "main")
    assert "named twice" in project.refused("ensemble", "main", "main")
    assert "ends in .safetensors" in project.refused("ensemble", *names, "--model", "x.pt")
    assert "no models/model.safetensors" in project.refused(
        "ensemble", *names, "--model", "x.safetensors"
    )


def test_other_folds_can_be_averaged_but_not_weighted(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    project.experiment("fold", "split.folds=3", "split.fold=1")
    assert "mean of 2" in project.classifier("ensemble", "main", "fold")
    assert "different val sets" in project.refused(
        "ensemble", "main", "fold", "--method", "weighted"
    )


def test_the_real_pipeline_gives_an_ensemble_that_scores_what_it_said(
    experiment: tuple[Workspace, list[str]], tmp_path: Path
) -> None:
    project = Toy(workspace.copy(experiment[0], tmp_path / "project").path)
    facts = json.loads(
        project.classifier(
            "ensemble", "main", "slower", "--method", "weighted", "--json",
            "--model", "models/both.safetensors",
        )
    )  # fmt: skip
    own = json.loads(project.run("git", "show", "main:metrics/evaluate.json").stdout)
    assert facts["test"]["main"]["accuracy"][0] == pytest.approx(own["test_accuracy"], abs=1e-6)
    assert facts["test"]["main"]["loss"][0] == pytest.approx(own["test_loss"], rel=1e-4)
    assert sum(facts["weights"].values()) == pytest.approx(1)

    network, spec = model_file.load(project.path / "models/both.safetensors")
    data = PreparedData.open(project.path / "data/prepared")
    images = torch.tensor(data.images("test")[:]).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        logits = network((images - spec.mean[0]) / spec.std[0]).numpy()
    labels = data.labels("test")
    right = (logits.argmax(1) == labels).mean()
    assert right == pytest.approx(facts["test"]["ensemble"]["accuracy"][0], abs=0.006)
    assert loss(logits, labels) == pytest.approx(facts["test"]["ensemble"]["loss"][0], rel=0.02)
    assert spec.temperature != 1.0

    printed = project.classifier("compare", "main", "slower")
    assert "train.epochs" in printed
    assert "train.seed" in printed


def test_predict_and_export_take_an_ensemble(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [model(tmp_path / f"{seed}.safetensors", seed, "cnn") for seed in (1, 2)]
    path = tmp_path / "both.safetensors"
    save_model(path, members, combine("mean", [], 2), [])
    assert main(["export", "--model", str(path), "--out", str(tmp_path / "both.onnx")]) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    capsys.readouterr()
    for name in ("both.safetensors", "both.onnx"):
        assert main(["predict", "--model", str(tmp_path / name), str(tmp_path / "a.png")]) == 0
    first, second = capsys.readouterr().out.strip().splitlines()
    assert first == second
