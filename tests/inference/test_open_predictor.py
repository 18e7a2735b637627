"""`predict` takes the exported file of the same model, which starts without torch."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.core.files import sha256
from classifier.core.resize import Resize
from classifier.inference.export import onnx_bytes
from classifier.inference.open_predictor import exported, open_predictor
from classifier.models import model_file
from classifier.models.decision import Decision
from classifier.models.registry import build
from classifier.models.spec import ModelSpec

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file, and the ONNX file that was made from it."""
    torch.manual_seed(0)
    network = build("cnn", {}, classes=3, channels=1, image_size=8).eval()
    torch.nn.init.normal_(network.last_linear.weight, std=0.5)
    spec = ModelSpec("cnn", {}, ("a", "b", "c"), 1, 8, Resize(), (0.4,), (0.3,))
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    model_file.save(path, network, spec)
    path.with_suffix(".onnx").write_bytes(onnx_bytes(network, spec, {}, sha256(path)))
    return path


def test_the_file_of_the_same_model_answers_alike(made: Path) -> None:
    place = exported(made, None)
    assert place == made.with_suffix(".onnx")
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    fast, slow = (open_predictor(path, threads=1) for path in (place, made))
    assert (fast.backend, slow.backend) == ("onnx", "torch")
    np.testing.assert_allclose(fast.probabilities(images), slow.probabilities(images), atol=1e-5)


def test_thresholds_that_were_chosen_later_do_not_matter(made: Path) -> None:
    assert exported(made, Decision(not_sure_below=0.9)) is not None
    distant = Decision(known_by="distance", known_from=-0.3, known_images=5)
    assert exported(made, distant) is None, "the graph gives no distance"


def test_the_file_of_another_model_is_said_to_be_one(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "model.safetensors"
    other.write_bytes(made.read_bytes() + b" ")
    (tmp_path / "model.onnx").write_bytes(made.with_suffix(".onnx").read_bytes())
    assert exported(other, None) is None
    assert "was not made from" in capsys.readouterr().err


def test_torch_answers_where_there_is_no_such_file_or_no_runtime(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.safetensors").write_bytes(made.read_bytes())
    assert exported(tmp_path / "model.safetensors", None) is None
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    assert exported(tmp_path / "model.safetensors", None) is None
    assert exported(made.with_suffix(".onnx"), None) is None
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert exported(made, None) is None
