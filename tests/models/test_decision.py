"""From probabilities to answers, and the file that carries a decision beside its model."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.models import decision as decisions
from classifier.models.decision import Decision
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
    for key, value in (("thresholds", {"broken": 1.5}), ("not_sure_below", -1), ("rules", 3)):
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


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"model": 1, "decision": {"x": 1}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "decision.json").write_text(text)
    with pytest.raises(UserError, match=r"decision\.json: damaged: run dvc repro evaluate"):
        decisions.beside(tmp_path / "model.safetensors")
