"""Our form of torchvision's networks computes what theirs computes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from classifier.models.networks.torchvision import torchvision_names
from classifier.models.registry import ModelParams, build
from classifier.training.transfer import load_weights, plan
from tests.support.library_weights import weights_file

FEW = ("resnet18", "mobilenet_v3_small", "squeezenet1_1")
# More than this would need gigabytes to run; `test_builds` covers the others on `meta`.
MOST_PARAMETERS = 60_000_000


def weights_of(name: str) -> Any:
    return models.get_model_weights(name).DEFAULT


def small_enough(name: str) -> bool:
    return bool(weights_of(name).meta["num_params"] <= MOST_PARAMETERS)


def check_same_logits(name: str, folder: Path) -> None:
    """torchvision's module, saved, taken over as pretrained weights, against itself."""
    torch.manual_seed(0)
    settings = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    settings |= {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    theirs = models.get_model(name, weights=None, **settings).eval()
    path = folder / "weights.safetensors"
    weights_file(path, f"torchvision/{name}", theirs.state_dict())
    # Sizes that the network's own positions or windows need are kept; others may be smaller.
    fixed = name.startswith(("vit_", "maxvit"))
    size = weights_of(name).transforms().crop_size[0] if fixed else 96

    params = ModelParams(f"torchvision/{name}", pretrained=str(path), input_size=size)
    meta = {
        "classes": [str(number) for number in range(1000)],
        "channels": 3,
        "image_size": size,
        "resize": "squash",
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
    }
    spec = plan(params, meta)
    ours = build(spec.name, spec.args, classes=1000, channels=3, image_size=size).eval()
    load_weights(ours, params, spec)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        if name.startswith("squeezenet"):  # the last layer differs: compare what goes into it
            found = ours.head[1](ours.head[0](ours.backbone(images)))
            expected = theirs.features(images).mean((2, 3))
        else:
            theirs_last = [m for m in theirs.modules() if isinstance(m, nn.Linear)][-1]
            ours.last_linear.load_state_dict(theirs_last.state_dict())
            found, expected = ours(images), theirs(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("name", FEW)
def test_same_logits(name: str, tmp_path: Path) -> None:
    check_same_logits(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in torchvision_names() if n not in FEW])
def test_same_logits_everywhere(name: str, tmp_path: Path) -> None:
    if not small_enough(name):
        pytest.skip(f"{name} has more than {MOST_PARAMETERS:,} parameters")
    check_same_logits(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", torchvision_names())
def test_trains(name: str, channels: int) -> None:
    """From scratch on small images, where it takes them: a gradient for every parameter."""
    if not small_enough(name):
        pytest.skip(f"{name} has more than {MOST_PARAMETERS:,} parameters")
    size = {"maxvit_t": 224, "inception_v3": 40}.get(name, 32)
    torch.manual_seed(0)
    network = build(f"torchvision/{name}", {}, classes=4, channels=channels, image_size=size)
    images = torch.randn(4, channels, size, size)
    loss = F.cross_entropy(network(images), torch.arange(4))
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in torchvision_names() if not small_enough(n)])
def test_builds(name: str) -> None:
    """The largest ones, without memory for their weights where they can do without."""
    if name.startswith("regnet"):
        pytest.skip("computes its widths while it is built, so needs its memory")
    size = weights_of(name).transforms().crop_size[0]
    with torch.device("meta"):
        network = build(
            f"torchvision/{name}", {"stem": "original"}, classes=5, channels=3, image_size=size
        )
        assert network(torch.zeros(1, 3, size, size)).shape == (1, 5)


def test_old_names_of_densenet_weights_are_understood(tmp_path: Path) -> None:
    """torchvision's own files of densenet weights have `norm.1` for `norm1`."""
    model = models.densenet121()
    state = {
        key.replace("norm1.", "norm.1.").replace("conv1.", "conv.1."): value
        for key, value in model.state_dict().items()
    }
    assert any("norm.1." in key for key in state)
    name = "torchvision/densenet121"
    path = weights_file(tmp_path / "densenet.safetensors", name, state)
    params = ModelParams(name, pretrained=path)
    meta = {"classes": ["a", "b"], "channels": 1, "image_size": 32, "resize": "squash"}
    spec = plan(params, meta | {"mean": [0.5], "std": [0.2]})
    network = build(spec.name, spec.args, classes=2, channels=1, image_size=32)
    load_weights(network, params, spec)
    layer = "denseblock1.denselayer1.conv1.weight"
    [ours] = [value for key, value in network.state_dict().items() if key.endswith(layer)]
    assert torch.equal(ours, model.state_dict()[f"features.{layer}"])


def test_stages_can_be_frozen_one_by_one() -> None:
    with torch.device("meta"):
        resnet = build("torchvision/resnet18", {}, classes=2, channels=3, image_size=32)
    assert list(resnet.layer_groups()) == ["conv1", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize("image_size", [28, 100])
def test_vision_transformer_takes_sizes_that_its_patches_do_not_fill(image_size: int) -> None:
    with torch.device("meta"):
        network = build("torchvision/vit_b_32", {}, classes=2, channels=1, image_size=image_size)
        assert network(torch.zeros(2, 1, image_size, image_size)).shape == (2, 2)
