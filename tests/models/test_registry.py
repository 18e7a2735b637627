"""Every network: shapes, gradients, a fair start, the way through the model file, and learning."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.cli import main
from classifier.commands.models import costs, matching, short
from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.models.classifier import Classifier, Entry, TestTimeAugmentation
from classifier.models.model_file import load, save
from classifier.models.networks.convnext import drop_path
from classifier.models.networks.vit import positions
from classifier.models.registry import NETWORKS, ModelParams, build
from classifier.models.spec import ModelSpec
from classifier.models.summary import count_parameters, summarize, summary

# Narrow settings, so that this file runs in seconds; the full ones are counted below.
NARROW: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [40, 20], "batch_norm": True},
    "cnn": {"filters": [8, 16], "dense_units": 16},
    "lenet": {},
    "alexnet": {"width": 0.125, "dense_units": 32, "dropout": 0.0},
    "vgg": {"width": 0.125, "dense_units": 32, "dropout": 0.0},
    "resnet": {"depth": 20, "width": 0.5},
    "inception": {"width": 0.125},
    "wide_resnet": {"depth": 10, "widen": 1},
    "convnext": {"depths": [1, 1, 1], "widths": [8, 16, 32], "kernel_size": 3},
    "vit": {"width": 24, "depth": 2},
    "fast": {"widths": [8, 16]},
}
TORCHVISION = {
    f"torchvision/{name}": {} for name in ("resnet18", "mobilenet_v3_small", "squeezenet1_1")
}
CASES = NARROW | TORCHVISION | {name: {} for name in NETWORKS if name not in NARROW}
CLASSES = 4


def make(name: str, channels: int = 1, image_size: int = 8, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    return build(name, CASES[name], classes=CLASSES, channels=channels, image_size=image_size)


def batch(channels: int, image_size: int, count: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, channels, image_size, image_size, generator=generator)
    return images, torch.arange(count) % CLASSES


@pytest.mark.parametrize("image_size", [8, 33])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_network(name: str, channels: int, image_size: int, tmp_path: Any) -> None:
    """Finite logits, a gradient everywhere, a start near ln(classes), and a faithful file."""
    network = make(name, channels, image_size)
    images, labels = batch(channels, image_size)
    logits = network(images)
    assert logits.shape == (8, CLASSES)
    loss = F.cross_entropy(logits, labels)
    assert abs(loss.item() - math.log(CLASSES)) < 0.25
    loss.backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        # A dead narrow unit may get no gradient, a whole layer may not.
        assert parameter.grad.abs().max() > 0, key

    spec = ModelSpec(
        name,
        CASES[name],
        tuple("abcd"),
        channels,
        image_size,
        Resize(),
        (0.5,) * channels,
        (0.2,) * channels,
    )
    save(tmp_path / "model.safetensors", network, spec)
    loaded, _ = load(tmp_path / "model.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded(images), network.eval()(images))


@pytest.mark.parametrize("name", [name for name in CASES if name not in TORCHVISION])
def test_overfits_one_batch(name: str) -> None:
    network = make(name)
    images, labels = batch(1, 8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(150):
        loss = F.cross_entropy(network(images), labels)
        if loss.item() < 0.05:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    else:
        pytest.fail(f"the loss is still {loss.item():.3f}")


@pytest.mark.parametrize("name", CASES)
def test_same_seed_same_weights(name: str) -> None:
    first, second, other = make(name), make(name), make(name, seed=1)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.last_linear.weight, other.last_linear.weight)


@pytest.mark.parametrize("name", [name for name in NARROW if name != "mlp"])
def test_backbone_ends_in_maps_and_head_in_a_linear(name: str) -> None:
    """What Grad-CAM and embeddings build on."""
    network = make(name, 3, 33)
    maps = network.backbone(batch(3, 33)[0])
    assert maps.ndim == 4
    assert network.last_linear.out_features == CLASSES


@pytest.mark.parametrize("name", NETWORKS)
def test_smallest_image(name: str) -> None:
    smallest = NETWORKS[name].smallest
    args = NARROW.get(name, {})
    network = build(name, args, classes=2, channels=1, image_size=smallest)
    assert network(torch.zeros(2, 1, smallest, smallest)).shape == (2, 2)
    with pytest.raises(UserError, match=f"{name} needs images of at least {smallest}"):
        build(name, args, classes=2, channels=1, image_size=smallest - 1)


@pytest.mark.parametrize(
    ("name", "args", "parameters"),
    [
        ("lenet", {}, 61_706),
        ("resnet", {"depth": 20}, 269_722),  # 0.27 M in the paper
        ("resnet", {"depth": 110}, 1_727_962),  # 1.7 M
        ("resnet", {"depth": 18}, 11_173_962),
        ("resnet", {"depth": 50}, 23_520_842),
        ("wide_resnet", {"depth": 28, "widen": 10}, 36_479_194),  # 36.5 M
        ("wide_resnet", {"depth": 16, "widen": 4}, 2_748_890),
    ],
)
def test_parameter_counts_are_the_papers(name: str, args: dict[str, Any], parameters: int) -> None:
    channels, size = (1, 28) if name == "lenet" else (3, 32)
    with torch.device("meta"):
        network = build(name, args, classes=10, channels=channels, image_size=size)
    assert count_parameters(network) == parameters


def test_depth_of_vgg() -> None:
    for depth in (11, 13, 16, 19):
        with torch.device("meta"):
            network = build("vgg", {"depth": depth}, classes=2, channels=3, image_size=32)
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(layers) == depth


def test_the_ladder_is_four_settings_of_one_network() -> None:
    plain = build("cnn", {"batch_norm": False}, classes=10, channels=3, image_size=32)
    normed = build("cnn", {"batch_norm": True}, classes=10, channels=3, image_size=32)
    dropped = build(
        "cnn", {"batch_norm": True, "dropout": 0.3}, classes=10, channels=3, image_size=32
    )
    kinds = [{type(m) for m in network.modules()} for network in (plain, normed, dropped)]
    assert nn.BatchNorm2d in kinds[1] - kinds[0]
    assert nn.Dropout in kinds[2] - kinds[1]


def test_wrong_name_gets_the_list_and_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'resnt' is not a network.*'resnet'.*mlp, cnn, lenet"):
        build("resnt", {}, classes=2, channels=1, image_size=8)
    with pytest.raises(UserError, match=r"did you mean 'torchvision/resnet18'"):
        ModelParams("torchvision/resnet_18")


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("cnn", {"filter": [8]}, "model.cnn.filter is not a parameter.*'filters'.*dense_units"),
        ("mlp", {"hidden": 8}, "model.mlp.hidden is 8"),
        ("cnn", {"kernel_size": 4}, "model.cnn.kernel_size: 4 is even"),
        ("resnet", {"depth": 19}, "model.resnet.depth is 19: choose 18"),
        ("wide_resnet", {"depth": 17}, "model.wide_resnet.depth: 17"),
        ("vit", {"width": 100, "heads": 3}, "model.vit.width: 100"),
        ("vit", {"patch": 16}, "model.vit.patch: 16"),
        ("convnext", {"depths": [1]}, "one number for each stage"),
        ("torchvision/resnet18", {"steam": "small"}, "model.torchvision.steam.*'stem'"),
    ],
)
def test_wrong_settings_are_refused(name: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(name, args, classes=2, channels=1, image_size=8)


def test_model_params_give_the_chosen_networks_settings() -> None:
    assert ModelParams("mlp").args() == {
        "hidden": [128, 64],
        "activation": "relu",
        "batch_norm": False,
        "dropout": 0.0,
    }
    assert ModelParams("lenet", input_size=28).args()["entry"] == {"size": 28}
    with pytest.raises(UserError, match=r"model\.freeze: random weights"):
        ModelParams("cnn", freeze="backbone")
    with pytest.raises(UserError, match=r"model\.unfreeze_every: nothing is frozen"):
        ModelParams("cnn", unfreeze_every=2)


def test_summary_adds_up_and_leaves_the_network_alone() -> None:
    network = make("resnet", 3, 33)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    content = summary("resnet", network, 3, 33)
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert content["parameters"] == count_parameters(network)
    assert sum(layer["parameters"] for layer in content["layers"]) == content["parameters"]
    assert sum(layer["multiply_adds"] for layer in content["layers"]) == content["multiply_adds"]
    first, last = content["layers"][0], content["layers"][-1]
    assert first["name"] == "backbone.stem.0"
    assert first["output"] == [8, 33, 33]
    assert first["multiply_adds"] == 8 * 33 * 33 * 3 * 3 * 3
    assert last["output"] == [CLASSES]
    assert last["multiply_adds"] == 32 * CLASSES


@pytest.mark.parametrize(
    ("name", "parameters", "giga_multiply_adds"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("vit_b_16", 86_567_656, 17.564),
        ("swin_t", 28_288_354, 4.491),
    ],
)
def test_summary_agrees_with_torchvision(
    name: str, parameters: int, giga_multiply_adds: float
) -> None:
    """Attention, class tokens and position tables included; figures from its model pages."""
    with torch.device("meta"):
        network = build(f"torchvision/{name}", {}, classes=1000, channels=3, image_size=224)
    layers = summarize(network, 3, 224)
    assert sum(layer.parameters for layer in layers) == parameters
    assert round(sum(layer.multiply_adds for layer in layers) / 1e9, 3) == giga_multiply_adds


def test_frozen_stages_stay_in_eval_mode() -> None:
    network = make("cnn")
    network.backbone[0].requires_grad_(False)
    network.train()
    assert [stage.training for stage in network.backbone] == [False, True]
    network.eval()
    assert not any(module.training for module in network.modules())


def test_entry_resizes_and_repeats() -> None:
    gray = torch.rand(2, 1, 8, 8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    entered = Entry(8, 16, mean, std)(gray)
    assert entered.shape == (2, 3, 16, 16)
    same_size = Entry(8, 8, mean, std)(gray)
    for channel in range(3):
        expected = (gray[:, 0] - mean[channel]) / std[channel]
        assert torch.allclose(same_size[:, channel], expected)
    color = torch.rand(2, 3, 8, 8)
    assert Entry(8, 8)(color) is color
    assert Entry(8, 4)(color).mean().item() == pytest.approx(color.mean().item(), abs=0.02)


def test_entry_keeps_what_training_has_shrunk_in_proportion() -> None:
    half = torch.rand(2, 3, 4, 4)
    assert Entry(8, 8)(half) is half
    assert Entry(8, 16)(half).shape == (2, 3, 8, 8)


def test_input_size_is_what_the_network_sees() -> None:
    network = build(
        "torchvision/resnet18", {"entry": {"size": 64}}, classes=2, channels=1, image_size=8
    )
    seen = []
    network.backbone[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    network(torch.zeros(2, 1, 8, 8))
    assert seen == [(2, 1, 64, 64)]


def test_drop_path_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    change = torch.ones(20_000, 1, 1, 1)
    dropped = drop_path(change, 0.25, training=True)
    assert dropped.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert drop_path(change, 0.25, training=False) is change


def test_positions_differ_everywhere() -> None:
    places = positions(24, 5, 7, torch.device("cpu")).flatten(1).T
    distances = torch.cdist(places, places) + torch.eye(len(places)) * 10
    assert distances.min() > 0.1


def test_torchvision_network_names_a_size_that_it_takes() -> None:
    def tried(name: str, size: int) -> Classifier:
        return build(f"torchvision/{name}", {}, classes=2, channels=1, image_size=size)

    for name, size in (("vgg11", 32), ("inception_v3", 40)):
        with pytest.raises(UserError, match=f"set model.input_size: {size}"):
            tried(name, 16)
        with torch.device("meta"):
            tried(name, size)


def test_costs() -> None:
    table = costs([*NETWORKS, "timm/vit_tiny_patch16_224"], 10, 1, 8)
    assert all(f"\n{name} " in table for name in NETWORKS)
    assert "159,850" in table  # cnn
    assert "1×8×8" in table
    assert re.search(r"timm/vit_tiny_patch16_224 +- +- +at least 32×32", table)
    assert [short(n) for n in (0, 999, 1814073344, 999_999)] == ["0", "999", "1.81 G", "1 M"]


def test_networks_are_listed_by_name_without_building_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a network is built")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("classifier.commands.models.build", refuse)
    assert main(["models", "--timm"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert "timm/convnext_tiny" in listed
    assert re.match(r"\d{4} networks\. What they cost", listed[-2])
    assert main(["models", "res"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert {"resnet", "torchvision/resnet18", "timm/resnet18"} <= set(listed)
    monkeypatch.undo()
    assert main(["models", "--timm", "resnet18", "--channels", "3", "--image-size", "224"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"timm/resnet18 +11,181,642 +1.81 G +224×224", table)
    assert "torchvision/resnet18" not in table
    assert main(["models", "resnte18"]) == 1
    assert "did you mean" in capsys.readouterr().err


def test_patterns_of_names() -> None:
    known = ["vit", "timm/vit_small", "timm/vit_base", "torchvision/vit_b_32"]
    assert matching(known, "vit_b") == known[2:]
    assert matching(known, "vit_*") == known[1:]
    assert matching(known, "timm/*") == known[1:3]
    assert matching(known, "vit") == known


@pytest.mark.parametrize("augmentation", ["mirror", "mirror_shift"])
def test_a_network_with_views_answers_alike_for_an_image_and_its_mirror_image(
    tmp_path: Path, augmentation: TestTimeAugmentation
) -> None:
    settings = ModelParams("cnn", test_time_augmentation=augmentation)
    torch.manual_seed(0)
    network = build("cnn", settings.args(), classes=3, channels=1, image_size=8)
    plain = build("cnn", {}, classes=3, channels=1, image_size=8)
    plain.load_state_dict(network.state_dict())
    images = torch.randn(5, 1, 8, 8)
    network.eval(), plain.eval()

    def both(images: torch.Tensor) -> torch.Tensor:
        return (plain(images) + plain(images.flip(-1))) / 2

    with torch.no_grad():
        expected = both(images)
        if augmentation == "mirror_shift":  # by one pixel, the edge's neighbors moving in
            padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
            expected = expected / 2
            expected += (both(padded[..., :8, :8]) + both(padded[..., 2:, 2:])) / 4
        torch.testing.assert_close(network(images), expected)
    assert summary("cnn", network, 1, 8) == summary("cnn", plain, 1, 8)
    assert network.test_time_augmentation == augmentation
    # In training it sees each image once.
    network.train(), plain.train()
    torch.testing.assert_close(network(images), plain(images))
    # The model file knows.
    spec = ModelSpec("cnn", settings.args(), tuple("abc"), 1, 8, Resize(), (0.5,), (0.5,))
    save(tmp_path / "m.safetensors", network.eval(), spec)
    again, _ = load(tmp_path / "m.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(again(images), network(images))
