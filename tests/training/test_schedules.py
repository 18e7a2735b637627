"""Schedules: their shape at the start, after the warm-up and at the end."""

from typing import get_args

import pytest
import torch

from classifier.training.optimization.schedules import ONE_CYCLE_END, Schedule, ScheduleName


def factors(name: ScheduleName, **settings: float) -> list[float]:
    schedule = Schedule(name, steps=100, steps_per_epoch=10, **settings)  # type: ignore[arg-type]
    return [schedule.factor(step) for step in range(100)]


@pytest.mark.parametrize("name", get_args(ScheduleName))
def test_each_rises_to_its_peak_in_the_warm_up(name: ScheduleName) -> None:
    found = factors(name, warmup_steps=20)
    assert found[:21] == sorted(set(found[:21]))
    assert found[20] == pytest.approx(1.0)
    assert max(found) <= 1.0
    assert 0 < found[0] < 0.06


@pytest.mark.parametrize("name", get_args(ScheduleName))
def test_each_stays_within_0_and_1(name: ScheduleName) -> None:
    assert all(0 <= factor <= 1 for factor in factors(name))


def test_constant_is_one() -> None:
    assert set(factors("constant")) == {1.0}


def test_step_falls_after_each_step_epochs() -> None:
    found = factors("step", step_epochs=3, gamma=0.5)
    assert found[:30] == [1.0] * 30
    assert found[30:60] == [0.5] * 30
    assert found[99] == 0.125


def test_cosine_is_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for factor in factors("cosine"):
        assert factor == pytest.approx(theirs.get_last_lr()[0], abs=1e-6)
        optimizer.step()
        theirs.step()


def test_linear_falls_to_almost_nothing() -> None:
    found = factors("linear")
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.5)
    assert found[99] == pytest.approx(0.01)


def test_onecycle_rises_for_a_third_and_ends_near_zero() -> None:
    found = factors("onecycle")
    assert found[0] == pytest.approx(1 / 25)
    assert found[30] == pytest.approx(1.0)
    assert found[99] < 0.001
    assert found[99] > ONE_CYCLE_END


def test_plateau_falls_when_nothing_gets_better() -> None:
    schedule = Schedule("plateau", 100, 10, gamma=0.5, plateau_patience=2)
    schedule.epoch_ended(improved=True)
    for _ in range(2):
        schedule.epoch_ended(improved=False)
        assert schedule.factor(50) == 1.0
    schedule.epoch_ended(improved=False)
    assert schedule.factor(50) == 0.5


def test_plateau_goes_on_where_it_was() -> None:
    first = Schedule("plateau", 100, 10, gamma=0.5, plateau_patience=0)
    first.epoch_ended(improved=False)
    second = Schedule("plateau", 100, 10, gamma=0.5, plateau_patience=0)
    second.load_state_dict(first.state_dict())
    assert second.factor(20) == 0.5


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="cosin"):
        Schedule("cosin", 10, 1)  # type: ignore[arg-type]
