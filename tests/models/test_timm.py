"""timm's networks: ours compute what timm's compute, learn, and go through a model file."""

import math
from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.models.classifier import Classifier
from classifier.models.model_file import load, save
from classifier.models.networks.timm import TimmParams, adopt, timm_names
from classifier.models.registry import ModelParams, build
from classifier.models.spec import ModelSpec

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("resnet18", "mobilenetv4_conv_small_035", "vit_tiny_patch16_224")
# One of each family that must work, small; and what is odd: several last layers, a hidden layer in
# the head, a convolution as the last layer, pooling by attention, no layer groups, shared weights.
FAMILIES = (
    "resnext50_32x4d",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_100",
    "convnext_atto",
    "regnety_002",
    "edgenext_xx_small",
    "fastvit_t8",
    "deit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch14_dinov2",
)
ODD = (
    "deit_tiny_distilled_patch16_224",
    "levit_128s",
    "repvit_m0_9",
    "crossvit_9_240",
    "efficientvim_m1",
    "volo_d1_224",
    "caformer_s18",
    "dla46_c",
    "resnetv2_18",
    "resnet50_clip",
    "pit_ti_224",
    "rdnet_tiny",
    "mixer_s32_224",
    "coat_lite_tiny",
)
SIZES = {"eva02_tiny_patch14_224": (112, 224), "vit_small_patch14_dinov2": (112, 224)}


def own_model(name: str, image_size: int, classes: int) -> nn.Module:
    """timm's network with weights and statistics that are as large as trained ones."""
    cfg = timm.get_pretrained_cfg(name)
    size = {"img_size": image_size} if cfg.fixed_input_size else {}
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=classes, **size).eval()
    for key, value in model.named_buffers():
        if "running" in key:
            value.uniform_(0.5, 1.5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.abs().max() < 1e-3:  # zeros, and layer scales
                weight.uniform_(-0.1, 0.1)
    return model


def last_layers(model: nn.Module) -> list[nn.Module]:
    names = model.pretrained_cfg["classifier"]
    return [model.get_submodule(name) for name in ([names] if isinstance(names, str) else names)]


def filled(name: str, theirs: nn.Module, image_size: int, classes: int = 7) -> Classifier:
    """Our form of a network with the weights of theirs, but for the last layer."""
    ours = build(f"timm/{name}", {}, classes=classes, channels=3, image_size=image_size).eval()
    weights = adopt(name, theirs.state_dict(), image_size)
    absent, unknown = ours.load_state_dict(weights, strict=False)
    last = {key for key, value in ours.named_parameters() if value.shape[0] == classes}
    assert (set(absent) <= last, unknown) == (True, [])
    return ours


def check_same_logits(name: str, image_size: int) -> None:
    theirs = own_model(name, image_size, 7)
    ours = filled(name, theirs, image_size)
    images = torch.randn(2, 3, image_size, image_size)
    with torch.no_grad():
        if len(last := last_layers(theirs)) > 1:  # one layer takes their place
            expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
            found = nn.Sequential(ours.backbone, ours.head[0])(images)
        else:
            ours.last_linear.weight.copy_(last[0].weight.flatten(1))
            if last[0].bias is not None:
                ours.last_linear.bias.copy_(last[0].bias)
            expected, found = theirs(images), ours(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * max(1, expected.abs().max()))
    assert expected.std() > 1e-4


def check_trains(name: str, channels: int, image_size: int, folder: Path) -> None:
    """A gradient for every weight that is not frozen, a fair start, and a faithful file."""
    torch.manual_seed(0)
    network = build(f"timm/{name}", {}, classes=4, channels=channels, image_size=image_size)
    images, labels = torch.randn(4, channels, image_size, image_size), torch.arange(4)
    loss = F.cross_entropy(network(images), labels)
    assert abs(loss.item() - math.log(4)) < 0.4
    loss.backward()
    for key, weight in network.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, key
    args, channel = ModelParams(f"timm/{name}").args(), (0.5,) * channels
    spec = ModelSpec(
        f"timm/{name}",
        args,
        tuple("abcd"),
        channels,
        image_size,
        Resize("squash"),
        channel,
        channel,
    )
    save(folder / "model.safetensors", network, spec)
    loaded, _ = load(folder / "model.safetensors")
    with torch.no_grad():
        assert torch.equal(loaded(images), network.eval()(images))


@pytest.mark.parametrize("name", FEW)
def test_same_logits(name: str) -> None:
    check_same_logits(name, 64)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FEW)
def test_trains(name: str, channels: int, tmp_path: Path) -> None:
    check_trains(name, channels, 64, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILIES, *ODD])
def test_same_logits_everywhere(name: str) -> None:
    own = timm.get_pretrained_cfg(name).input_size[-1]
    for image_size in SIZES.get(name, (own,) if name in ODD else (64, own)):
        check_same_logits(name, image_size)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*FAMILIES, *ODD])
def test_trains_everywhere(name: str, channels: int, tmp_path: Path) -> None:
    own = timm.get_pretrained_cfg(name).input_size[-1]
    check_trains(name, channels, SIZES.get(name, (own if name in ODD else 64,))[0], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", timm_names())
def test_all_build(name: str) -> None:
    """At the image size that each is made for, where nothing is computed."""
    image_size = timm.get_pretrained_cfg(name).input_size[-1]
    with torch.device("meta"), torch.no_grad():
        network = build(f"timm/{name}", {}, classes=5, channels=3, image_size=image_size).eval()
        assert network(torch.zeros(2, 3, image_size, image_size)).shape == (2, 5)
    grouped = [id(weight) for group in network.layer_groups().values() for weight in group]
    assert len(grouped) == len(set(grouped))
    trained = {id(weight) for weight in network.backbone.parameters() if weight.requires_grad}
    assert set(grouped) == trained


def test_fresh_weights_follow_from_the_seed_alone() -> None:
    def made() -> Classifier:
        torch.manual_seed(3)
        return build("timm/resnet18", {}, classes=4, channels=1, image_size=32)

    first, second = made().state_dict(), made().state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_positions_of_another_image_size_are_interpolated() -> None:
    theirs = own_model("vit_tiny_patch16_224", 224, 7)
    ours = filled("vit_tiny_patch16_224", theirs, 96)
    assert ours.get_parameter("backbone.features.timm.pos_embed").shape == (1, 37, 192)


def test_weights_of_another_network_are_refused() -> None:
    theirs = own_model("resnet18", 64, 7).state_dict()
    with pytest.raises(UserError, match=r"not the weights of timm's resnet34 \(.*layer1"):
        adopt("resnet34", theirs, 64)
    del theirs["layer4.0.bn1.weight"]
    with pytest.raises(UserError, match=r"not the weights of timm's resnet18 \(.*layer4.0.bn1"):
        adopt("resnet18", theirs, 64)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("resnet18", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("convnext_atto", ["stem", "stages.0", "stages.1", "stages.2", "stages.3"]),
        (
            "densenet121",
            ["features.conv0", *(f"features.denseblock{n}" for n in range(1, 5)), "features.norm5"],
        ),
        ("efficientnet_b0", ["conv_stem", *(f"blocks.{number}" for number in range(7))]),
        ("pit_ti_224", ["pos_embed", "transformers.0", "transformers.1", "transformers.2"]),
        ("vit_tiny_patch16_224", ["cls_token", *(f"blocks.{number}" for number in range(12))]),
    ],
)
def test_layer_groups(name: str, groups: list[str]) -> None:
    with torch.device("meta"):
        network = build(f"timm/{name}", {}, classes=4, channels=3, image_size=224)
    assert list(network.layer_groups()) == groups


def test_frozen_groups_keep_their_statistics() -> None:
    network = build("timm/resnet18", {}, classes=4, channels=3, image_size=64)
    for group in list(network.layer_groups().values())[:3]:
        for weight in group:
            weight.requires_grad_(False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    network(torch.randn(4, 3, 64, 64))
    changed = {
        key.split(".")[3]
        for key, value in network.state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert changed == {"layer3", "layer4"}


def test_what_does_not_fit_is_said_with_what_does() -> None:
    for name, image_size, wanted in (("vit_tiny_patch16_224", 28, 32), ("crossvit_9_240", 64, 240)):
        with pytest.raises(UserError, match=f"{image_size} pixels; set model.input_size: {wanted}"):
            build(f"timm/{name}", {}, classes=2, channels=1, image_size=image_size)
    with pytest.raises(UserError, match=r"model\.timm\.drop_path: timm/vgg11 has none"):
        build("timm/vgg11", {"drop_path": 0.1}, classes=2, channels=1, image_size=64)


def test_names() -> None:
    with pytest.raises(UserError, match=r"did you mean 'timm/resnet18'.*models --timm"):
        ModelParams("timm/resnet_18")
    with pytest.raises(
        UserError, match=r"no weights 'timm/resnet18.a9_in1k'.*timm/resnet18.a1_in1k"
    ):
        ModelParams("timm/resnet18.a9_in1k")
    assert ModelParams("timm/resnet18.a1_in1k", timm=TimmParams(drop=0.5)).args() == {
        "drop": 0.5,
        "drop_path": None,
    }
