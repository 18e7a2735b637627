"""A run that is stopped goes on where it was, to the same bits."""

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from classifier.dataset.prepared import PreparedData
from classifier.training.loop import train
from classifier.training.run.checkpoint import Checkpoints
from tests.support.prepared_digits import prepared_digits
from tests.support.training_runs import PARAMS, SHIFT, SMALL, digest, fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("digits"), train=512, val=128)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_saves_and_says_how_to_go_on(
    data: PreparedData, tmp_path: Path, sign: signal.Signals
) -> None:
    if signal.getsignal(sign) is signal.SIG_IGN:
        pytest.skip("whoever started the tests ignores it, as `nohup` does")
    wanted = digest(fit(data, epochs=3))
    checkpoints = Checkpoints(tmp_path / "run", "100 epochs")

    def interrupt(history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            os.kill(os.getpid(), sign)

    with pytest.raises(KeyboardInterrupt, match="after epoch 2 of 3; run the same command again"):
        fit(data, epochs=3, checkpoints=checkpoints, on_epoch=interrupt)
    assert signal.getsignal(sign) is not None
    state = checkpoints.load()
    assert state is not None
    assert (state["epoch"], state["step"]) == (2, 0)
    assert digest(fit(data, epochs=3, checkpoints=checkpoints)) == wanted


@pytest.mark.parametrize("settings", [{"epochs": 3}, {"epochs": 30, "lr": 0.1, "patience": 1}])
def test_a_run_that_was_stopped_after_its_last_epoch_has_no_further_one(
    data: PreparedData, tmp_path: Path, settings: dict[str, Any]
) -> None:
    straight = fit(data, **settings)
    last = len(straight.history)
    assert last < 30
    checkpoints = Checkpoints(tmp_path / "run", "100 epochs")

    def interrupt(history: list[dict[str, float]]) -> None:
        if len(history) == last:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=f"after epoch {last} of {settings['epochs']};"):
        fit(data, checkpoints=checkpoints, on_epoch=interrupt, **settings)
    lines: list[str] = []
    params = dataclasses.replace(PARAMS, **settings)
    again = train(params, SMALL, SHIFT, data, checkpoints=checkpoints, say=lines.append)
    assert "going on after the last epoch" in lines
    assert not any(f"epoch {last + 1}" in line for line in lines)
    assert digest(again) == digest(straight)


def test_a_run_goes_on_from_the_middle_of_an_epoch(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 3, "ema_decay": 0.9, "schedule": "plateau", "optimizer": "sgd"}
    straight = fit(data, **settings)
    checkpoints = Checkpoints(tmp_path / "run", "1 epoch")
    saved = 0

    def due(epoch_ended: bool) -> bool:
        nonlocal saved
        saved += 1
        if saved == 13:  # after 8 steps and the first epoch: the fifth step of the second
            return True
        if saved > 13:
            raise MemoryError
        return False

    monkeypatch.setattr(checkpoints, "due", due)
    with pytest.raises(MemoryError):
        fit(data, checkpoints=checkpoints, **settings)
    state = checkpoints.load()
    assert state is not None
    assert (state["epoch"], state["step"]) == (1, 5)
    resumed = fit(data, checkpoints=Checkpoints(tmp_path / "run", "1 epoch"), **settings)
    assert digest(resumed) == digest(straight)
    assert resumed.history == straight.history


def test_a_finished_state_only_needs_its_end(data: PreparedData, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "1 epoch")
    straight = fit(data, checkpoints=checkpoints)
    epochs: list[int] = []
    again = fit(data, checkpoints=checkpoints, on_epoch=lambda h: epochs.append(len(h)))
    assert epochs == [2], "the files of the run are written once more, nothing is trained"
    assert digest(again) == digest(straight)
