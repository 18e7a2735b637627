"""Optimizers: they descend, they decay what should decay, their state can be taken up."""

import io
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from classifier.training.optimization.optimizers import (
    Muon,
    OptimizerName,
    build_optimizer,
    orthogonalized,
    parameter_groups,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def small_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Module()
    network.backbone = nn.Sequential(  # type: ignore[assignment]
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, bias=False)
    )
    network.head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 6 * 6, 3))  # type: ignore[assignment]
    network.forward = lambda x: network.head(network.backbone(x))  # type: ignore
    return network


def loss_of(network: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(12, 1, 8, 8, generator=generator)
    return nn.functional.cross_entropy(network.forward(images), torch.arange(12) % 3)


def descend(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(network)
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_each_learns_a_batch_by_heart(name: OptimizerName) -> None:
    network = small_network()
    lr = 0.1 if name == "sgd" else 0.003
    optimizer = build_optimizer(network, name, lr=lr, weight_decay=1e-4)
    assert loss_of(network).item() > 0.9
    assert descend(network, optimizer, 60) < 0.1


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_each_goes_on_to_the_bit_from_its_saved_state(name: OptimizerName) -> None:
    settings = {"lr": 0.01, "weight_decay": 0.01}
    network = small_network()
    optimizer = build_optimizer(network, name, **settings)  # type: ignore[arg-type]
    descend(network, optimizer, 3)
    file = io.BytesIO()
    torch.save([network.state_dict(), optimizer.state_dict()], file)
    descend(network, optimizer, 3)

    other = small_network()
    their_optimizer = build_optimizer(other, name, **settings)  # type: ignore[arg-type]
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    other.load_state_dict(weights)
    their_optimizer.load_state_dict(state)
    descend(other, their_optimizer, 3)
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_backbone_can_have_a_rate_of_its_own() -> None:
    network = small_network()
    groups = parameter_groups(network, 0.0, 0.1, dict.fromkeys(network.backbone.parameters(), 0.5))
    rates = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for p in network.backbone.parameters()} == {0.05}
    assert {rates[id(p)] for p in network.head.parameters()} == {0.1}


def test_frozen_parameters_stay_as_they_are() -> None:
    for name in get_args(OptimizerName):
        network = small_network()
        network.backbone.requires_grad_(False)
        before = [p.clone() for p in network.backbone.parameters()]
        descend(network, build_optimizer(network, name, lr=0.1, weight_decay=0.1), 2)
        after = network.backbone.parameters()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_orthogonalized_lifts_every_singular_value() -> None:
    for shape in [(16, 16), (8, 40), (40, 8)]:
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        values = torch.linalg.svdvals(orthogonalized(matrix))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_muon_takes_the_hidden_weights_alone() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2)
    )
    optimizer = build_optimizer(network, "muon", lr=0.01)
    assert isinstance(optimizer, Muon)
    chosen = [p for g in optimizer.param_groups if g["matrices"] for p in g["params"]]
    assert [id(parameter) for parameter in chosen] == [id(network[1].weight)]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="adamm"):
        build_optimizer(nn.Linear(1, 1), "adamm", lr=0.1)  # type: ignore[arg-type]
