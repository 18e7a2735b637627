"""The model file: the same bytes for the same model, and one sentence for whatever is wrong."""

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.models.classifier import Classifier
from classifier.models.model_file import load, read_weights, save
from classifier.models.registry import ModelParams, build
from classifier.models.spec import ModelSpec, read_spec

SPEC = ModelSpec(
    name="cnn",
    args=ModelParams("cnn").args(),
    classes=("Äpfel", "pears", "zebra"),
    channels=3,
    image_size=16,
    resize=Resize("crop"),
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    temperature=1.25,
    extra={"val_accuracy": 0.9, "nested": {"list": [1, 2]}},
)


MEMBER = {"name": "mlp", "args": {}, "mean": [0.5] * 3, "std": [0.25] * 3}
STACKING = {"method": "stacking", "members": [MEMBER]}


def network() -> Classifier:
    torch.manual_seed(0)
    return build("cnn", SPEC.args, classes=3, channels=3, image_size=16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "model.safetensors"
    save(target, network(), SPEC)
    return target


def rewrite_spec(path: Path, **changes: object) -> None:
    content = path.read_bytes()
    [length] = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    spec = json.loads(header["__metadata__"]["classifier"]) | changes
    spec = {key: value for key, value in spec.items() if value is not None}
    header["__metadata__"]["classifier"] = json.dumps(spec)
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + length :])


def test_round_trip(path: Path) -> None:
    loaded, spec = load(path)
    assert spec == SPEC
    assert read_spec(path) == SPEC
    assert not loaded.training
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(images), network().eval()(images))


def test_same_model_same_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    channels_last = network().to(memory_format=torch.channels_last)
    save(again, channels_last, dataclasses.replace(SPEC, args=dict(reversed(SPEC.args.items()))))
    assert again.read_bytes() == path.read_bytes()


def test_loading_leaves_the_random_state_alone(path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load(path)
    assert torch.equal(torch.rand(1), expected)


def test_spec_is_read_without_torch(path: Path) -> None:
    code = (
        "import sys; from classifier.models.spec import read_spec; "
        f"print(read_spec({str(path)!r}).name, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["cnn", "False"]


def test_failed_save_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        save(path, network(), dataclasses.replace(SPEC, extra={"loss": float("nan")}))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors: cannot be read \(No such file"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("size", [0, 5, 8, 100, -1])
def test_truncated_file(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    for reader in (read_spec, load):
        with pytest.raises(UserError, match="not a model file, or damaged"):
            reader(path)


def test_damaged_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:20] = b"\xff" * 12
    path.write_bytes(content)
    told = r"not a model file, or damaged .*(invalid UTF-8|InvalidHeader)"
    with pytest.raises(UserError, match=told):
        load(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04" + b"x" * 500, b"[]" * 100])
def test_other_kinds_of_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a model file, or damaged"):
        load(path)


def test_safetensors_of_somebody_else(path: Path) -> None:
    safetensors.torch.save_file({"a": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="not one that this project's train stage wrote"):
        load(path)


def test_a_description_that_nests_too_deeply(path: Path) -> None:
    nested = {"classifier": "[" * 100_000}
    safetensors.torch.save_file({"a": torch.zeros(3)}, path, metadata=nested)
    with pytest.raises(UserError, match="not one that this project's train stage wrote"):
        load(path)


def test_newer_format(path: Path) -> None:
    rewrite_spec(path, format=99)
    with pytest.raises(UserError, match="model file format 99, this version of the project reads"):
        load(path)


def test_incomplete_spec(path: Path) -> None:
    rewrite_spec(path, mean=None)
    with pytest.raises(UserError, match=r"spec\.mean is missing"):
        load(path)


def test_weights_that_do_not_fit_their_spec(path: Path) -> None:
    rewrite_spec(path, classes=["a", "b"])
    with pytest.raises(UserError, match=r"do not fit the network 'cnn'.*head.3.bias: 3, not 2"):
        load(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": []}, "spec.classes is .*give a list of 1 or more"),
        ({"classes": ["a", "a"]}, "a name stands there twice"),
        ({"classes": "ab"}, "spec.classes is 'ab'"),
        ({"channels": 2}, "spec.channels is 2: choose 1 or 3"),
        ({"channels": 1}, "one figure a channel"),
        ({"image_size": 0}, "spec.image_size is 0"),
        ({"image_size": 10**6}, "spec.image_size is 1000000"),
        ({"resize": "x"}, "spec.resize.mode is 'x': choose squash, crop or pad"),
        ({"resize": {"mode": "crop", "crop_fraction": 0}}, "spec.resize.crop_fraction is 0"),
        ({"resize": {"mode": "pad", "crop_fraction": 0.5}}, "what pad adds is not cropped"),
        ({"mean": [["a"]] * 3}, "spec.mean"),
        ({"std": [0.0, 1.0, 1.0]}, "give a number > 0"),
        ({"temperature": 0}, "spec.temperature is 0: give a number > 0"),
        ({"temperature": 1e308}, "spec.temperature is 1e.308: give a number > 0"),
        ({"temperature": float("nan")}, "spec.temperature is nan"),
        ({"name": "x"}, "'x' is not a network"),
        ({"name": 5}, "spec.name is 5: give a text"),
        ({"args": []}, "spec.args"),
        ({"args": {"nope": 1}}, "model.cnn.nope is not a parameter"),
        ({"args": {"filters": [-1]}}, "model.cnn.filters"),
        ({"args": {"filters": [10**9]}}, "model.cnn.filters"),
        ({"args": {"filters": [60000] * 64}}, "do not fit the network"),
        ({"args": {"convolutions": 10**6}}, "model.cnn.convolutions"),
        ({"args": {"entry": {"size": 10**9}}}, "entry.size"),
        ({"args": {"test_time_augmentation": "x"}}, "test_time_augmentation is 'x'"),
        ({"name": "ensemble", "args": {"members": 10**9}}, "model.ensemble"),
        ({"name": "ensemble", "args": {"method": "mean", "members": []}}, "a list of 1 to 100"),
        ({"name": "ensemble", "args": STACKING | {"floor": -1e308}}, "floor is -1e.308: give"),
        ({"name": "fast", "args": {"offset": 1e308}}, "model.fast.offset is 1e.308: give a number"),
        ({"value_range": {"integer": [5, 5]}}, "the lower value comes first"),
        ({"zzz": 1}, "spec.zzz is not a parameter"),
    ],
)
def test_whatever_no_spec_can_have_is_refused_before_a_network_is_built(
    path: Path, change: dict[str, Any], reason: str
) -> None:
    rewrite_spec(path, **change)
    with pytest.raises(UserError, match=reason):
        load(path)


def test_weights_that_are_no_numbers(path: Path) -> None:
    weights = safetensors.torch.load_file(path)
    name = next(name for name, value in weights.items() if value.is_floating_point())
    weights[name].view(-1)[0] = float("nan")
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    safetensors.torch.save_file(weights, path, metadata)
    for reader in (load, read_weights):  # the latter is that of model.pretrained
        with pytest.raises(UserError, match="some of its weights are no numbers"):
            reader(path)
