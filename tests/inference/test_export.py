"""Exported models: they stand alone, say what they are, and answer like the model itself."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classifier import cli
from classifier.core.errors import UserError
from classifier.core.files import sha256
from classifier.core.resize import Resize, to_array
from classifier.images.decode import decode
from classifier.inference import exported_graph
from classifier.inference.export import load_torch_export, onnx_bytes
from classifier.inference.export_check import agreement
from classifier.inference.onnx_backend import OnnxPredictor
from classifier.inference.open_predictor import open_predictor
from classifier.inference.torch_backend import TorchPredictor
from classifier.models import model_file
from classifier.models.forward import normalize
from classifier.models.registry import build
from classifier.models.spec import ModelSpec
from tests.support.image_files import WAYS, encoded, photograph
from tests.support.workspace import Workspace

onnx = pytest.importorskip("onnx")
SIZES = [(32, 32), (16, 20), (7, 3), (100, 75), (501, 375), (1280, 961), (33, 700)]


@pytest.mark.parametrize("resize", WAYS, ids=str)
def test_the_graph_resizes_as_pillow_does(resize: Resize) -> None:
    for number, size in enumerate(SIZES):
        image = photograph(number, size)
        image.putpixel((0, 0), (255, 0, 255))
        expected = to_array(image, 32, 3, resize)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        found = exported_graph.resized(pixels, 32, resize)[0].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() <= 1, size
        assert (found != expected).mean() <= (0.02 if resize.reduces else 0.06), size
        if size == (32, 32) and resize.crop_fraction == 1:
            assert (found == expected).all()


def network(name: str, args: dict[str, object], channels: int, size: int, resize: Resize):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    made = build(name, args, classes=7, channels=channels, image_size=size).eval()
    for parameter in made.last_linear.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # clear answers rather than 1/7 for each class
    mean, std = (0.4,) * channels, (0.3,) * channels
    classes = tuple("abcdefg")
    return made, ModelSpec(name, args, classes, channels, size, resize, mean, std, 1.3)


@pytest.mark.parametrize(
    ("name", "args", "channels", "size", "resize"),
    [
        ("cnn", {}, 3, 32, Resize("crop")),
        ("cnn", {}, 3, 32, Resize("crop", "bicubic", 0.875)),
        ("vit", {"width": 48, "depth": 2,
                 "entry": {"size": 24, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.3]}},
         1, 28, Resize("pad")),
    ],
    ids=["cnn", "cnn for pretrained weights", "adapted vit"],
)  # fmt: skip
def test_onnx_answers_like_torch(
    name: str, args: dict[str, object], channels: int, size: int, resize: Resize, tmp_path: Path
) -> None:
    made, spec = network(name, args, channels, size, resize)
    model_file.save(tmp_path / "m.safetensors", made, spec)
    ours = TorchPredictor(tmp_path / "m.safetensors", "cpu")
    content = onnx_bytes(ours.network, spec, {"test_accuracy": 0.5})
    theirs = OnnxPredictor(content)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert theirs.spec == ours.spec
    assert theirs.metrics == {"test_accuracy": 0.5}
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (65, size, size, channels), dtype=np.uint8)
    result = agreement(ours.probabilities(images), theirs.probabilities(images))
    assert result.largest_difference < 1e-4
    assert result.same_class == 1
    assert len(theirs.probabilities(images[:1])) == 1

    for number, shape in enumerate(((640, 480), (90, 200))):
        image = photograph(number, shape).convert("L" if channels == 1 else "RGB")
        whole = np.array(image).reshape(1, shape[1], shape[0], channels)
        ready = to_array(image, size, channels, resize)[None]
        result = agreement(ours.probabilities(ready), theirs.probabilities(whole))
        assert result.largest_difference < 0.05


@pytest.fixture
def project(finished: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run, as the current folder."""
    monkeypatch.chdir(finished.path)
    return finished.path


def evaluated(project: Path) -> list[str]:
    """The class that the stage evaluate gave each test image."""
    with (project / "data/predictions/predictions.csv").open() as file:
        return [row["predicted"] for row in csv.DictReader(file)]


def test_one_class_for_every_test_digit_whoever_computes(project: Path, tmp_path: Path) -> None:
    images = np.load("data/prepared/test.npy")
    path = tmp_path / "model.onnx"
    assert cli.main(["export", "--out", str(path)]) == 0
    first = path.read_bytes()
    again = model_file.load("models/model.safetensors")
    metrics = json.loads(Path("metrics/evaluate.json").read_text())
    digest = sha256(Path("models/model.safetensors"))
    assert onnx_bytes(*again, metrics, digest) == first
    assert b"deployed.py" not in first
    model = onnx.load(path)
    described = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert described["classes"] == list("0123456789")
    assert described["metrics"] == metrics

    expected = evaluated(project)
    for predictor in (open_predictor("models/model.safetensors"), open_predictor(path)):
        found = predictor.probabilities(images).argmax(axis=1)
        assert [predictor.spec.classes[k] for k in found] == expected


def test_int8_says_what_it_costs(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.onnx"
    assert cli.main(["export", "--int8", "--out", str(path)]) == 0
    printed, doing = capsys.readouterr()
    assert "torch in float32" in printed
    assert f"writing {path} …\n" in doing
    assert not {"\r", "\x1b"} & {*doing}
    images, labels = np.load("data/prepared/test.npy"), np.load("data/prepared/test_labels.npy")
    right = (OnnxPredictor(path).probabilities(images).argmax(axis=1) == labels).mean()
    assert f"test accuracy {right:.4f}" in printed
    assert right > json.loads(Path("metrics/evaluate.json").read_text())["test_accuracy"] - 0.01
    assert path.stat().st_size < 0.4 * Path("models/model.safetensors").stat().st_size
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "QuantizeLinear" in kinds


def test_torch_programs_and_plain_weights(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    assert cli.main(["export", "--format", "torch-export", "--out", str(path)]) == 0
    answer = load_torch_export(path)
    images = np.load("data/prepared/test.npy")
    found = [str(k) for k in answer(images).argmax(axis=1)]
    assert found == evaluated(project)
    assert b"deployed.py" not in path.read_bytes()
    image = photograph(0, (120, 90)).convert("L")
    assert answer(np.array(image)[None, :, :, None]).shape == (1, 10)

    weights = tmp_path / "plain.safetensors"
    assert cli.main(["export", "--format", "safetensors", "--out", str(weights)]) == 0
    expected = model_file.read_weights("models/model.safetensors")
    found = model_file.read_weights(weights)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8", "--format", "safetensors"], "--int8 is for --format onnx"),
        (["--out", "models/model.safetensors"], "is the model itself"),
        (["--model", "nowhere.safetensors"], "nowhere.safetensors does not exist"),
    ],
)
def test_mistakes_get_one_sentence(
    project: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_int8_needs_the_training_images(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = str(project / "models/model.safetensors")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "--int8", "--model", model, "--out", "m.onnx"]) == 1
    assert "needs the images that the model was trained on" in capsys.readouterr().err
    assert not Path("m.onnx").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(UserError, match="not an ONNX file"):
        open_predictor(tmp_path / "a.onnx")
    with pytest.raises(UserError, match="run python -m classifier export"):
        open_predictor(tmp_path / "b.onnx")
    with pytest.raises(UserError, match="cannot run on torch"):
        open_predictor(tmp_path / "b.onnx", "torch")


def trained(folder: Path, classes: list[str]) -> tuple[torch.nn.Module, ModelSpec]:
    """The default network after five passes over 10,000 images."""
    files = sorted(folder.glob("train/*/*.jpg"))[::5]
    pixels = [to_array(decode(file.read_bytes()), 32, 3) for file in files]
    images = torch.from_numpy(np.stack(pixels))
    labels = torch.tensor([classes.index(file.parent.name) for file in files])
    torch.manual_seed(0)
    made = build("cnn", {}, classes=len(classes), channels=3, image_size=32).train()
    mean, std = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
    optimizer = torch.optim.Adam(made.parameters(), 2e-3)
    for _ in range(5):
        for rows in torch.randperm(len(images)).split(128):
            logits = made(normalize(images[rows], mean, std))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
    return made.eval(), ModelSpec("cnn", {}, tuple(classes), 3, 32, Resize(), mean, std)


@pytest.mark.slow
def test_one_class_for_cifar10_and_for_photographs(tmp_path: Path) -> None:
    folder = os.environ.get("CIFAR10_IMAGES")
    if not folder:
        pytest.skip("CIFAR10_IMAGES does not name a folder test/CLASS/*.jpg of CIFAR-10 images")
    files = sorted(Path(folder).glob("test/*/*.jpg"))
    files = files[:: len(files) // 1000][:1000]
    images = [decode(file.read_bytes()) for file in files]
    made, spec = trained(Path(folder), sorted({file.parent.name for file in files}))
    model_file.save(tmp_path / "m.safetensors", made, spec)
    ours = TorchPredictor(tmp_path / "m.safetensors", "cpu")
    theirs = OnnxPredictor(onnx_bytes(ours.network, spec, {}))
    arrays = np.stack([to_array(image, 32, 3) for image in images])
    result = agreement(ours.probabilities(arrays), theirs.probabilities(arrays))
    assert result.same_class == 1
    assert result.largest_difference < 1e-4

    # The same images at a photograph's size, as JPEG files: decoded and resized in both ways.
    same = []
    for number, image in enumerate(images):
        size = (500, 375) if number % 2 else (333, 500)
        data = encoded(image.resize(size, Image.Resampling.BICUBIC), "JPEG", quality=90)
        ready = to_array(decode(data), 32, 3)[None]
        whole = np.asarray(decode(data))[None]
        same.append(ours.probabilities(ready).argmax() == theirs.probabilities(whole).argmax())
    assert np.mean(same) >= 0.999
