"""From probabilities to answers, and the file that carries a decision beside its model."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.models import decision as decisions
from classifier.models.decision import Decision
from classifier.models.known import hold_reference
from classifier.models.model_file import load, save
from classifier.models.registry import build
from classifier.models.spec import ModelSpec, described, from_description, read_spec

TWO, THREE = ("good", "broken"), ("a", "b", "c")
SPEC = ModelSpec("mlp", {}, TWO, 1, 8, Resize(), (0.5,), (0.25,))
CHOSEN = Decision("max_f1", "broken", {"broken": 0.123456789012345}, 0.9, 0.99, 0.95)


def test_without_thresholds_the_most_probable_class_is_the_answer() -> None:
    found = Decision(not_sure_below=0.5).answers(
        np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.3, 0.3, 0.4]], np.float32), THREE
    )
    assert found.labels.tolist() == [1, 0, 2]
    assert found.confidence == pytest.approx([0.5, 0.4, 0.4])
    assert found.sure.tolist() == [True, False, False]


def test_the_positive_class_is_the_answer_from_its_threshold_on() -> None:
    probabilities = np.array([[0.9, 0.1], [0.75, 0.25], [0.7, 0.3], [0.1, 0.9]])
    found = Decision("0.25", "broken", {"broken": 0.25}, 0.3)
    assert found.texts(probabilities, TWO) == ["good", "not sure", "broken", "broken"]
    assert found.answers(probabilities, TWO).labels.tolist() == [0, 1, 1, 1]
    other = Decision("0.8", "good", {"good": 0.8})
    assert other.texts(probabilities, TWO) == ["good", "broken", "broken", "broken"]


def test_of_many_classes_the_most_probable_that_reaches_its_threshold() -> None:
    found = Decision("x", None, {"a": 0.6, "b": 0.2, "c": 0.5})
    probabilities = np.array([[0.5, 0.3, 0.2], [0.7, 0.3, 0.0], [0.45, 0.1, 0.45]])
    assert found.texts(probabilities, THREE) == ["b", "a", "not sure"]
    assert found.answers(probabilities, THREE).labels.tolist() == [1, 0, 0]  # the first guess


@pytest.mark.parametrize(
    "wrong",
    [
        Decision("x", "broken", {"good": 0.5}),
        Decision("x", "bad", {"bad": 0.5}),
        Decision("x", None, {"broken": 0.5}),
        Decision("x", "broken", {}),
    ],
)
def test_thresholds_of_other_classes_are_refused(wrong: Decision) -> None:
    with pytest.raises(UserError, match="not those of the classes"):
        from_description(described(dataclasses.replace(SPEC, decision=wrong)))


def test_a_model_file_can_carry_it_and_none_leaves_no_trace(tmp_path: Path) -> None:
    network = build("mlp", {}, **SPEC.sizes)
    assert "decision" not in described(SPEC)
    with_it = dataclasses.replace(SPEC, decision=CHOSEN)
    save(tmp_path / "m.safetensors", network, with_it)
    assert read_spec(tmp_path / "m.safetensors") == with_it
    assert load(tmp_path / "m.safetensors")[1].decision == CHOSEN
    wrong = {
        "thresholds": {"broken": 1.5},
        "not_sure_below": -1,
        "rules": 3,
        "known_by": "color",
        "known_from": float("nan"),
        "known_images": 10**6,
    }
    for key, value in wrong.items():
        content = described(with_it)
        content["decision"][key] = value
        with pytest.raises(UserError, match=key):
            from_description(content)


def test_it_lies_beside_the_model_that_it_was_made_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    assert decisions.beside(model) is None
    decisions.write(model, CHOSEN)
    assert decisions.beside(model) == CHOSEN  # to the last digit
    (tmp_path / "copy.safetensors").write_bytes(b"weights")
    assert decisions.beside(tmp_path / "copy.safetensors") == CHOSEN
    (tmp_path / "other.safetensors").write_bytes(b"others")
    assert decisions.beside(tmp_path / "other.safetensors") is None
    assert capsys.readouterr().err == ""
    model.write_bytes(b"trained anew")
    assert decisions.beside(model) is None
    assert "is of another model" in capsys.readouterr().err
    decisions.write(model, None)
    assert decisions.beside(model) is None
    assert capsys.readouterr().err == ""


def test_what_is_not_known_is_not_sure_and_none_of_these() -> None:
    found = Decision(not_sure_below=0.6, known_by="energy", known_from=-2.5)
    probabilities = np.array([[0.5, 0.3, 0.2], [0.7, 0.3, 0.0], [0.1, 0.9, 0.0]])
    scores = np.array([3.0, -2.5, -2.6])
    assert found.texts(probabilities, THREE, scores) == ["not sure", "a", "none of these"]
    said = found.answers(probabilities, THREE, scores)
    assert said.known.tolist() == [True, True, False]
    assert said.sure.tolist() == [False, True, False]
    assert said.labels.tolist() == [0, 0, 1]  # the first guess
    assert found.verdict(np.array([0.1, 0.9, 0.0, -2.6]), THREE) == (1, 0.9, False, False)


def a_file_with_embeddings(path: Path, count: int, **changes: object) -> None:
    network = build("mlp", {}, **SPEC.sizes)
    hold_reference(network, torch.ones(count, network.last_linear.in_features))
    rule = Decision(known_by="distance", known_from=-0.1, known_images=3)
    rule = dataclasses.replace(rule, **changes)  # type: ignore[arg-type]
    save(path, network, dataclasses.replace(SPEC, decision=rule))


def test_a_model_file_holds_the_embeddings_that_distances_are_to(tmp_path: Path) -> None:
    a_file_with_embeddings(tmp_path / "m.safetensors", 3)
    network, spec = load(tmp_path / "m.safetensors")
    assert spec.decision is not None
    assert network.get_buffer("known_embeddings").dtype == torch.float16
    assert network.get_buffer("known_embeddings").tolist()[0][0] == 1


@pytest.mark.parametrize(
    ("count", "changes", "reason"),
    [
        (2, {}, "known_embeddings: 2×.*, not 3×"),
        (3, {"known_by": "energy", "known_images": 0}, "known_embeddings: .*, not absent"),
        (3, {"known_images": 20_000}, "known_embeddings: 3×.*, not 20000×"),
        (3, {"known_images": 0}, "known_images: distances need some"),
        (3, {"known_by": "probability"}, "known_images: distances need some"),
        (3, {"known_by": None}, "known_images: distances need some"),
    ],
)
def test_embeddings_that_do_not_fit_the_rule_are_refused(
    tmp_path: Path, count: int, changes: dict[str, object], reason: str
) -> None:
    path = tmp_path / "m.safetensors"
    a_file_with_embeddings(path, count, **changes)
    with pytest.raises(UserError, match=reason):
        load(path)


def test_embeddings_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    a_file_with_embeddings(tmp_path / "m.safetensors", 3)
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    weights["known_embeddings"][1, 1] = torch.nan
    save_file(weights, tmp_path / "n.safetensors", metadata)
    with pytest.raises(UserError, match="no numbers"):
        load(tmp_path / "n.safetensors")


def test_an_ensemble_without_a_last_layer_holds_none(tmp_path: Path) -> None:
    a_file_with_embeddings(tmp_path / "m.safetensors", 3)
    part = {"name": "mlp", "args": {}, "mean": [0.5], "std": [0.25]}
    content = described(read_spec(tmp_path / "m.safetensors"))
    spec = from_description(
        content | {"name": "ensemble", "args": {"method": "mean", "members": [part] * 2}}
    )
    save(tmp_path / "e.safetensors", torch.nn.Identity(), spec)
    with pytest.raises(UserError, match="no network can be made of its settings"):
        load(tmp_path / "e.safetensors")


def test_what_lies_beside_a_model_names_no_embeddings(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    decisions.write(tmp_path / "model.safetensors", Decision(known_by="energy"))
    with pytest.raises(UserError, match=r"decision\.json: damaged"):
        decisions.beside(tmp_path / "model.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"model": 1, "decision": {"x": 1}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "decision.json").write_text(text)
    with pytest.raises(UserError, match=r"decision\.json: damaged: run dvc repro evaluate"):
        decisions.beside(tmp_path / "model.safetensors")
