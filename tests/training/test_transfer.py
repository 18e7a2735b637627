"""Pretrained weights: taken over exactly, frozen as asked, refused with one sentence."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.core.pretrained import FOLDER
from classifier.core.resize import Resize
from classifier.models.classifier import Classifier, TestTimeAugmentation
from classifier.models.model_file import load, save
from classifier.models.networks.cnn import CnnParams
from classifier.models.networks.fast import FastParams
from classifier.models.registry import ModelParams, build
from classifier.models.spec import ModelSpec
from classifier.training import transfer
from classifier.training.distributed import Ranks
from classifier.training.params import TrainParams
from classifier.training.session import Session
from tests.support.library_weights import INPUT, weights_file
from tests.support.prepared_digits import prepared_digits

CNN = CnnParams(filters=(4, 8), dense_units=8)
OLD_CLASSES = ("cat", "dog", "owl")


def meta(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"classes": ["hen", "pig"], "channels": 3, "image_size": 16}
    facts |= {"resize": "squash", "mean": [0.1, 0.2, 0.3], "std": [0.2, 0.2, 0.2]}
    return facts | changes


GRAY = meta(channels=1, mean=[0.2], std=[0.3])


def make(params: ModelParams, facts: dict[str, Any]) -> tuple[Classifier, ModelSpec]:
    """What training does at its start."""
    spec = transfer.plan(params, facts)
    torch.manual_seed(1)
    network = build(spec.name, spec.args, **spec.sizes)
    transfer.load_weights(network, params, spec)
    transfer.freeze(network, params)
    return network, spec


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A trained model of 3 classes on 16×16 color images, with batch statistics of its own."""
    params = ModelParams("cnn", cnn=CNN)
    torch.manual_seed(0)
    network = build("cnn", params.args(), classes=3, channels=3, image_size=16)
    network(torch.randn(64, 3, 16, 16) + 1)
    spec = ModelSpec(
        "cnn", params.args(), OLD_CLASSES, 3, 16, Resize(), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
    )
    path = tmp_path / "old.safetensors"
    save(path, network, spec)
    return str(path)


def test_without_pretrained_weights_the_data_decide() -> None:
    network, spec = make(ModelParams("cnn", cnn=CNN), meta())
    assert spec.mean == (0.1, 0.2, 0.3)
    assert "entry" not in spec.args
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_own_model_brings_its_weights_and_its_preprocessing(file: str) -> None:
    network, spec = make(ModelParams("cnn", pretrained=file, cnn=CNN), meta())
    old, old_spec = load(file)
    assert (spec.mean, spec.std) == (old_spec.mean, old_spec.std)
    assert network.last_linear.out_features == 2
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network.eval().backbone(images), old.backbone(images))


def test_same_classes_keep_the_last_layer(file: str) -> None:
    params = ModelParams("cnn", pretrained=file, cnn=CNN)
    network, _ = make(params, meta(classes=list(OLD_CLASSES)))
    assert torch.equal(network.last_linear.weight, load(file)[0].last_linear.weight)


def test_images_of_another_size_are_resized_to_the_weights(file: str) -> None:
    network, _ = make(ModelParams("cnn", pretrained=file, cnn=CNN), meta(image_size=8))
    old, _ = load(file)
    images = torch.randn(4, 3, 8, 8)
    larger = F.interpolate(images, size=(16, 16), mode="bilinear")
    with torch.no_grad():
        assert torch.equal(network.eval().backbone(images), old.backbone(larger))


def test_gray_images_into_color_weights_are_exact(file: str, tmp_path: Path) -> None:
    """The same as making color images of the gray ones and using the weights' mean and std."""
    network, spec = make(ModelParams("cnn", pretrained=file, cnn=CNN), GRAY)
    old, old_spec = load(file)
    gray = torch.rand(4, 1, 16, 16)
    assert (spec.mean, spec.std) == ((0.0,), (1.0,))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (old_spec.mean, old_spec.std))
    with torch.no_grad():
        expected = old.backbone((gray.expand(-1, 3, -1, -1) - mean) / std)
        assert torch.equal(network.eval().backbone(gray), expected)
        # and again from the file of the new model, on which a further one can be trained
        second = tmp_path / "second.safetensors"
        save(second, network, spec)
        assert torch.equal(load(second)[0].backbone(gray), expected)
        third, _ = make(ModelParams("cnn", pretrained=str(second), cnn=CNN), meta())
        color = torch.randn(4, 3, 16, 16)
        assert torch.equal(third.eval().backbone(color), old.backbone(color))


def test_color_images_into_gray_weights_are_refused(tmp_path: Path) -> None:
    params = ModelParams("cnn", cnn=CNN)
    network = build("cnn", params.args(), classes=2, channels=1, image_size=8)
    spec = ModelSpec("cnn", params.args(), ("a", "b"), 1, 8, Resize(), (0.5,), (0.2,))
    save(tmp_path / "gray.safetensors", network, spec)
    params = ModelParams("cnn", pretrained=str(tmp_path / "gray.safetensors"), cnn=CNN)
    with pytest.raises(UserError, match=r"set preprocess\.channels: 1"):
        transfer.plan(params, meta())


def test_another_network_or_setting_is_refused(file: str) -> None:
    with pytest.raises(UserError, match=r"set model\.name: cnn"):
        transfer.plan(ModelParams("mlp", pretrained=file), meta())
    with pytest.raises(UserError, match=r"model\.cnn set filters: \[4, 8\], dense_units: 8"):
        transfer.plan(ModelParams("cnn", pretrained=file), meta())
    with pytest.raises(UserError, match="does not exist: give the path"):
        transfer.plan(ModelParams("cnn", pretrained="none.safetensors"), meta())


def test_how_the_source_answers_does_not_bind_what_is_trained_on_it(
    file: str, tmp_path: Path
) -> None:
    network, spec = load(file)
    mirrored = str(tmp_path / "mirrored.safetensors")
    save(mirrored, network, replace(spec, args={**spec.args, "test_time_augmentation": "mirror"}))
    for augmentation in get_args(TestTimeAugmentation):
        params = ModelParams(
            "cnn", pretrained=mirrored, test_time_augmentation=augmentation, cnn=CNN
        )
        assert make(params, meta())[0].test_time_augmentation == augmentation


def test_settings_are_named_as_params_yaml_takes_them(tmp_path: Path) -> None:
    args = ModelParams("fast").args()
    network = build("fast", args, classes=2, channels=3, image_size=8)
    spec = ModelSpec("fast", args, ("a", "b"), 3, 8, Resize(), (0.5,) * 3, (0.2,) * 3)
    save(tmp_path / "fast.safetensors", network, spec)
    settings = FastParams(directions=3, dirac=False, activation="relu")
    params = ModelParams("fast", pretrained=str(tmp_path / "fast.safetensors"), fast=settings)
    advice = r'under model\.fast set directions: null, dirac: true, activation: "gelu"'
    with pytest.raises(UserError, match=advice):
        transfer.plan(params, meta())


def test_an_ensemble_is_no_start(file: str, tmp_path: Path) -> None:
    network, spec = load(file)
    path = str(tmp_path / "ensemble.safetensors")
    save(path, network, replace(spec, name="ensemble"))
    with pytest.raises(UserError, match="is an ensemble, which cannot be trained"):
        transfer.plan(ModelParams("cnn", pretrained=path, cnn=CNN), meta())


def test_a_digest_in_the_name_is_checked(file: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
    right, wrong = (tmp_path / f"old-{d}.safetensors" for d in (digest, "0" * 16))
    for path in (right, wrong):
        path.write_bytes(Path(file).read_bytes())
    transfer.plan(ModelParams("cnn", pretrained=str(right), cnn=CNN), meta())
    with pytest.raises(UserError, match=r"does not start with 0{16}\): give it another name"):
        transfer.plan(ModelParams("cnn", pretrained=str(wrong), cnn=CNN), meta())
    Path(f"{wrong}.dvc").touch()
    with pytest.raises(UserError, match="run dvc checkout --force"):
        transfer.plan(ModelParams("cnn", pretrained=str(wrong), cnn=CNN), meta())
    wrong.unlink()
    with pytest.raises(UserError, match="does not exist: run dvc pull"):
        transfer.plan(ModelParams("cnn", pretrained=str(wrong), cnn=CNN), meta())


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    params = ModelParams("mlp")
    network = build("mlp", params.args(), classes=2, channels=3, image_size=8)
    spec = ModelSpec("mlp", params.args(), ("a", "b"), 3, 8, Resize(), (0.5,) * 3, (0.2,) * 3)
    path = str(tmp_path / "mlp.safetensors")
    save(path, network, spec)
    make(ModelParams("mlp", pretrained=path), meta())  # resized to the 8×8 that it needs
    with pytest.raises(
        UserError, match=r"does not fit mlp: backbone\.hidden1\.0\.weight has shape"
    ):
        make(ModelParams("mlp", pretrained=path, input_size=9), meta())


@pytest.mark.parametrize(
    ("freeze", "epoch", "frozen"),
    [
        ("none", 0, 0),
        (1, 0, 1),
        ("backbone", 0, 2),
        ("backbone", 2, 2),
        ("backbone", 3, 1),
        (2, 7, 0),
    ],
)
def test_freezing_and_gradual_unfreezing(file: str, freeze: Any, epoch: int, frozen: int) -> None:
    every = 0 if freeze == "none" else 3
    params = ModelParams("cnn", pretrained=file, freeze=freeze, unfreeze_every=every, cnn=CNN)
    network, _ = make(params, meta())
    assert transfer.freeze(network, params, epoch) == frozen
    for number, weights in enumerate(network.layer_groups().values()):
        assert all(weight.requires_grad == (number >= frozen) for weight in weights)
    assert all(parameter.requires_grad for parameter in network.head.parameters())


def test_frozen_backbone_does_not_change(file: str) -> None:
    network, _ = make(ModelParams("cnn", pretrained=file, freeze="backbone", cnn=CNN), meta())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        network.train()
        loss = F.cross_entropy(network(torch.randn(8, 3, 16, 16)), torch.arange(8) % 2)
        loss.backward()
        optimizer.step()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith("backbone."), key


def test_freezing_more_stages_than_there_are(file: str) -> None:
    with pytest.raises(UserError, match=r"freeze: 3 layer groups, but .* has 2: block1, block2"):
        make(ModelParams("cnn", pretrained=file, freeze=3, cnn=CNN), meta())


def test_the_weights_of_a_library_bring_their_preprocessing(tmp_path: Path) -> None:
    state = models.get_model("resnet18").state_dict()
    path = weights_file(tmp_path / "r.safetensors", "torchvision/resnet18", state)
    params = ModelParams("torchvision/resnet18", pretrained=path)
    spec = transfer.plan(params, meta())
    assert (spec.mean, spec.std) == (INPUT.mean, INPUT.std)
    assert spec.args == {"stem": "original", "entry": {"size": 224}}
    spec = transfer.plan(params, GRAY)
    assert spec.mean == (0.0,)
    assert spec.args["entry"] == {"size": 224, "mean": list(INPUT.mean), "std": list(INPUT.std)}
    network, _ = make(replace(params, input_size=32), meta())
    assert torch.equal(network.state_dict()["backbone.conv1.0.weight"], state["conv1.weight"])


def test_true_means_the_file_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    state = timm.create_model("resnet10t", num_classes=5).state_dict()
    params = ModelParams("timm/resnet10t", pretrained=True, input_size=64)
    with pytest.raises(
        UserError,
        match=r"models/pretrained/timm/resnet10t\.safetensors does not exist: run `python -m "
        r"classifier weights timm/resnet10t` here, or on a machine with a network and copy the",
    ):
        make(params, meta())
    weights_file(FOLDER / "timm/resnet10t.safetensors", "timm/resnet10t.c3_in1k", state)
    network, _ = make(params, meta())
    [found] = [
        value for key, value in network.state_dict().items() if key.endswith("conv1.0.weight")
    ]
    assert torch.equal(found, state["conv1.0.weight"])


def test_what_true_cannot_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"nobody publishes weights of cnn: set model\.name to"):
        transfer.plan(ModelParams("cnn", pretrained=True), meta())
    with pytest.raises(UserError, match="imagenet is called true now: set it so, and run"):
        transfer.plan(ModelParams("torchvision/resnet18", pretrained="imagenet"), meta())
    Path("models/pretrained/timm").mkdir(parents=True)
    Path("models/pretrained/timm/resnet18.safetensors.dvc").touch()
    with pytest.raises(UserError, match="does not exist: run dvc pull models/pretrained/timm/res"):
        transfer.plan(ModelParams("timm/resnet18", pretrained=True), meta())


def test_files_that_are_not_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    name = "torchvision/resnet18"
    params = ModelParams(name, pretrained=str(path), input_size=32)
    with pytest.raises(UserError, match="does not exist: give the path of a file of weights"):
        make(params, meta())
    advice = f"`python -m classifier weights NAME {path}` wrote"
    path.write_bytes(b"not a zip file")
    with pytest.raises(UserError, match=advice):
        make(params, meta())
    torch.save(nn.Linear(2, 2), path)  # a pickled module, which would run code when read
    with pytest.raises(UserError, match=advice):
        make(params, meta())
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
    safetensors.torch.save_file(state, path)  # of unknown preprocessing
    with pytest.raises(UserError, match="it does not say which images its weights want"):
        make(params, meta())
    weights_file(path, name, {"conv1.weight": torch.full((64, 3, 7, 7), float("nan"))})
    with pytest.raises(UserError, match="some of its weights are no numbers"):
        make(params, meta())
    weights_file(path, name, state)
    with pytest.raises(UserError, match=r"not the weights of torchvision's resnet18"):
        make(params, meta())
    weights_file(path, "timm/resnet18.tv_in1k", state)
    with pytest.raises(UserError, match=r"holds the weights of timm/resnet18.tv_in1k, and model"):
        make(params, meta())


def test_damaged_files_of_weights_get_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    name = "torchvision/resnet18"
    weights_file(path, name, {"conv1.weight": torch.zeros(8)})
    whole = path.read_bytes()
    params = ModelParams(name, pretrained=str(path), input_size=32)
    generator = np.random.default_rng(0)
    spec = transfer.plan(params, meta())
    network = build(spec.name, spec.args, **spec.sizes)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in generator.integers(len(whole), size=generator.integers(1, 9)):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        with suppress(UserError):  # of the header alone; the weights fit no network in any case
            transfer.plan(params, meta())
        with pytest.raises(UserError):
            transfer.load_weights(network, params, spec)


@pytest.mark.parametrize(
    "args", [{"entry": 5}, {"entry": {"size": "x"}}, {"filters": [10**9]}, {"nope": 1}]
)
def test_a_model_file_of_made_up_settings_is_no_start(
    file: str, tmp_path: Path, args: dict[str, Any]
) -> None:
    path = tmp_path / "made up.safetensors"
    with safetensors.safe_open(file, framework="pt") as opened:
        content = json.loads(opened.metadata()["classifier"])
    content["args"] |= args
    safetensors.torch.save_file(
        safetensors.torch.load_file(file), path, {"classifier": json.dumps(content)}
    )
    with pytest.raises(UserError, match="not a model file, or damaged"):
        make(ModelParams("cnn", pretrained=str(path), cnn=CNN), meta())


@pytest.mark.parametrize(
    ("changes", "train", "warned"),
    [
        ({}, {"lr": 0.005}, "0.005"),
        ({}, {"lr": 0.001}, ""),
        ({}, {"lr": 0.02, "backbone_lr_factor": 0.05}, ""),
        ({}, {"lr": 0.02, "backbone_lr_factor": 0.5}, "0.01"),
        ({}, {"lr": 0.05, "optimizer": "sgd"}, ""),
        ({}, {"lr": 0.5, "optimizer": "sgd"}, "0.5"),
        ({"freeze": "backbone"}, {"lr": 0.005}, ""),
        ({"freeze": "backbone", "unfreeze_every": 1}, {"lr": 0.005}, "0.005"),
    ],
)
def test_a_rate_that_destroys_pretrained_weights_is_warned_of(
    tmp_path: Path, changes: dict[str, Any], train: dict[str, Any], warned: str
) -> None:
    name = "torchvision/shufflenet_v2_x0_5"
    state = models.get_model("shufflenet_v2_x0_5").state_dict()
    seen = replace(INPUT, image_size=32)
    params = ModelParams(
        name, weights_file(tmp_path / "w.safetensors", name, state, seen), **changes
    )
    data = prepared_digits(tmp_path / "prepared", train=64, val=32)
    settings = TrainParams(
        **{"epochs": 1, "batch_size": 32, "optimizer": "adamw", "seed": 0, **train}
    )
    session = Session(settings, params, AugmentParams(), data, Ranks())
    lines = [line for line in session.remarks() if "learning rate" in line]
    assert len(lines) == bool(warned)
    assert all(f"rate of {warned}, and at more than" in line for line in lines)


def test_an_own_model_may_train_at_the_rate_that_it_was_made_with(file: str) -> None:
    params = ModelParams("cnn", file, cnn=CnnParams())
    assert transfer.rate_warning(params, "adamw", 0.005) == ""
