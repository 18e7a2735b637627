"""The moving average of the weights: what it keeps, what it counts, and where it arrives."""

import io
import math

import pytest
import torch
from torch import nn

from classifier.training.optimization.ema import averaged


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def moved(module: nn.Module, by: float) -> None:
    """Change every weight and statistic, and count a batch."""
    with torch.no_grad():
        for value in module.state_dict().values():
            value += by if value.is_floating_point() else 1


def test_each_update_keeps_little_at_first_and_then_decay() -> None:
    module = network()
    average = averaged(module, 0.5)
    expected = {name: value.clone() for name, value in module.state_dict().items()}
    for number in range(1, 20):
        moved(module, number)
        average.update_parameters(module)
        keep = min(0.5, (1 + number) / (10 + number))
        for name, present in module.state_dict().items():
            floats = present.is_floating_point()
            expected[name] = torch.lerp(expected[name], present, 1 - keep) if floats else present
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert average.module[1].num_batches_tracked == module[1].num_batches_tracked == 19


def test_it_begins_with_the_weights_and_arrives_where_they_stay() -> None:
    module = network()
    average = averaged(module, 0.9)
    before = module[0].bias.detach().clone()
    moved(module, 1.0)
    average.update_parameters(module)
    kept = (module[0].bias - average.module[0].bias).detach()
    torch.testing.assert_close(kept, (module[0].bias - before).detach() * 2 / 11)
    for _ in range(200):
        average.update_parameters(module)
    torch.testing.assert_close(average.module.state_dict(), module.state_dict())
    assert not any(p.grad_fn for p in average.parameters())


@pytest.mark.parametrize("updates", [0, 3])
def test_it_goes_on_to_the_bit_from_its_saved_state(updates: int) -> None:
    module = network()
    average = averaged(module, 0.999)
    for _ in range(updates):
        moved(module, math.pi)
        average.update_parameters(module)
    file = io.BytesIO()
    torch.save(average.state_dict(), file)
    file.seek(0)
    other = averaged(network(), 0.999)
    other.load_state_dict(torch.load(file, weights_only=True))
    moved(module, math.e)
    for one in (average, other):
        one.update_parameters(module)
    for ours, theirs in zip(
        average.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
