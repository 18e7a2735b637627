"""Which parameters decay and which are orthogonalized, in every network there is."""

import copy
import math
import re

import pytest
import torch
from torch import Tensor, nn

from classifier.models.registry import NETWORKS, TORCHVISION, build, names
from classifier.training.optimization.optimizers import (
    build_optimizer,
    lr_factors,
    parameter_groups,
)

# Its networks compute their widths with tensors, so that they cannot be built on `meta`, and the
# large ones take gigabytes; they differ in widths alone.
LARGE = re.compile(r"torchvision/regnet_[xy]_(?!400mf)")

# Parameters of modules that are no linear layer, convolution or attention, by their last names.
BARE = {
    "bias",
    "in_proj_bias",
    "scale",  # of this project's ConvNeXt blocks
    "layer_scale",
    "class_token",
    "positions",
    "relative_position_bias_table",
    "logit_scale",
}


pytestmark = pytest.mark.usefixtures("one_thread")


def built(name: str) -> nn.Module:
    with torch.device("cpu" if "regnet" in name else "meta"):
        return build(name, {}, classes=10, channels=3, image_size=224 if "/" in name else 32)


def groups_by_name(network: nn.Module) -> tuple[dict[str, float], dict[str, int]]:
    """Of each parameter: its weight decay, of 0.5, and how many matrices Muon takes it for."""
    groups = parameter_groups(network, 0.5, 0.1, {}, orthogonalize=True)
    found = {id(p): (g["weight_decay"], g["matrices"]) for g in groups for p in g["params"]}
    assert len(found) == sum(len(g["params"]) for g in groups), "each parameter once"
    by_name = {name: found[id(p)] for name, p in network.named_parameters()}
    return {n: d for n, (d, _) in by_name.items()}, {n: m for n, (_, m) in by_name.items()}


@pytest.mark.parametrize(
    "name", [*NETWORKS, *(n for n in names(TORCHVISION) if not LARGE.match(n))]
)
def test_layers_decay_and_hidden_ones_are_orthogonalized(name: str) -> None:
    network = built(name)
    decays, matrices = groups_by_name(network)
    shapes = {key: parameter.shape for key, parameter in network.named_parameters()}
    last_names = {key: key.rpartition(".")[2] for key in shapes}
    norms = {
        f"{key}.weight"
        for key, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d | nn.LayerNorm)
    }
    weights = [key for key in shapes if last_names[key] not in BARE and key not in norms]
    assert {last_names[key] for key in weights} <= {"weight", "in_proj_weight"}
    assert {key for key, decay in decays.items() if decay} == set(weights)
    assert set(decays.values()) == {0.0, 0.5}

    ends = {weights[-1]} if name == "fast" else {weights[0], weights[-1]}  # whitening is no weight
    depthwise = {key for key in weights if len(shapes[key]) == 4 and shapes[key][1] == 1}
    hidden = set(weights) - ends - depthwise
    assert {key for key, count in matrices.items() if count} == hidden
    assert weights[-1].startswith("head.")


def test_transformers_and_convnext_by_name() -> None:
    decays, matrices = groups_by_name(built("torchvision/vit_b_16"))
    layer = "backbone.encoder_layer_0"
    assert decays["backbone.tokens.class_token"] == decays["backbone.tokens.positions"] == 0
    assert matrices["backbone.tokens.project.weight"] == 0
    assert decays["backbone.tokens.project.weight"] == 0.5
    assert matrices[f"{layer}.self_attention.in_proj_weight"] == 3
    assert matrices[f"{layer}.self_attention.out_proj.weight"] == 1
    _, matrices = groups_by_name(built("torchvision/swin_t"))
    assert matrices["backbone.features1.0.attn.qkv.weight"] == 3
    _, matrices = groups_by_name(built("torchvision/maxvit_t"))
    attention = "backbone.blocks0.layers.0.layers.window_attention.attn_layer.1"
    assert matrices[f"{attention}.to_qkv.weight"] == 3
    _, matrices = groups_by_name(built("vit"))
    assert matrices["backbone.block1.query_key_value.weight"] == 3
    _, matrices = groups_by_name(built("torchvision/resnext50_32x4d"))
    assert matrices["backbone.layer1.0.conv2.weight"] == 32
    decays, matrices = groups_by_name(built("torchvision/convnext_tiny"))
    assert decays["backbone.features1.0.layer_scale"] == 0
    assert (decays["backbone.features1.0.block.0.weight"], matrices["head.1.2.weight"]) == (0.5, 0)
    assert matrices["backbone.features1.0.block.0.weight"] == 0, "depthwise"


def test_an_embedding_is_no_matrix_and_a_shared_weight_counts_once() -> None:
    network = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    network[2].weight = network[1].weight
    decays, matrices = groups_by_name(network)
    assert decays["0.weight"] == matrices["0.weight"] == 0
    assert matrices == dict.fromkeys(matrices, 0), "the shared one is the input layer's as well"
    network[3].weight = network[0].weight
    decays, _ = groups_by_name(network)
    assert decays["0.weight"] == 0.5, "it is the last layer's as well"


@pytest.mark.parametrize(
    "stack",
    [
        nn.MultiheadAttention(6, 2),
        nn.Conv2d(6, 18, (1, 6), groups=3, bias=False),
    ],
)
def test_stacked_matrices_are_each_orthogonalized(stack: nn.Module) -> None:
    """One step is that of as many layers with a part each."""
    weight = stack.get_parameter(
        "in_proj_weight" if isinstance(stack, nn.MultiheadAttention) else "weight"
    )
    parts = [nn.Linear(part[0].numel(), len(part), bias=False) for part in weight.chunk(3)]
    gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    gradient[: len(gradient) // 3] *= 100  # in one matrix, it would leave the others behind
    for linear, part in zip(parts, weight.chunk(3), strict=True):
        linear.weight.data = part.detach().flatten(1).clone()

    def step(*layers: nn.Module) -> list[Tensor]:
        network = nn.Sequential(nn.Linear(6, 6), *layers, nn.Linear(6, 2))
        optimizer = build_optimizer(network, "muon", lr=0.1, weight_decay=0.1)
        inner = network[1:-1]
        gradients = iter(gradient.chunk(3))
        for key, parameter in inner.named_parameters():
            if key.endswith("weight") and "out_proj" not in key:
                whole = parameter.shape == weight.shape
                parameter.grad = (gradient if whole else next(gradients).flatten(1)).clone()
        optimizer.step()
        return [p for key, p in inner.named_parameters() if p.grad is not None]

    [whole] = step(copy.deepcopy(stack))
    separate = torch.cat([part.flatten() for part in step(*parts)])
    assert torch.allclose(whole.flatten(), separate, atol=1e-6)
    change = (whole - weight * (1 - 0.1 * 0.1)).detach().flatten(1)
    rows, columns = len(change) // 3, change.shape[1]
    for part in change.chunk(3):
        sizes = torch.linalg.svdvals(part) / (0.1 * 0.2 * math.sqrt(max(rows, columns)))
        assert 0.3 < sizes.min() <= sizes.max() < 1.3


def test_rates_fall_from_the_head_down_to_the_first_layer_group() -> None:
    """Of this project's networks, torchvision's and timm's."""
    for name, groups in (
        ("cnn", 3),
        ("torchvision/resnet18", 5),
        ("timm/vit_tiny_patch16_224", 13),
    ):
        with torch.device("meta"):
            network = build(name, {}, classes=10, channels=3, image_size=32)
        optimizer = build_optimizer(
            network, "adamw", lr=0.1, weight_decay=0.5, lr_factors=lr_factors(network, 0.5, 0.8)
        )
        rates = {p: g["initial_lr"] for g in optimizer.param_groups for p in g["params"]}
        found = [{rates[weight] for weight in group} for group in network.layer_groups().values()]
        assert [len(of_group) for of_group in found] == [1] * groups
        expected = [0.1 * 0.5 * 0.8 ** (groups - number) for number in range(groups)]
        assert [max(of_group) for of_group in found] == pytest.approx(expected)
        assert {rates[weight] for weight in network.head.parameters()} == {0.1}
        assert len(rates) == len(list(network.parameters()))
        decays = {p: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
        assert {d for p, d in decays.items() if p.ndim < 2} == {0}
    assert set(lr_factors(network, 1.0, 1.0).values()) == {1.0}
