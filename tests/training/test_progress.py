"""What is said of a run in progress where no terminal shows a bar."""

import pytest
import torch

from classifier.training.run import progress
from classifier.training.run.progress import Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the clock shows, to be changed."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def row(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}


def test_a_long_run_says_after_its_first_batches_how_long_it_takes(clock: list[float]) -> None:
    said: list[str] = []
    sums = torch.zeros(2)
    with Progress(40, 1500, 0, 1, said.append) as shown:
        for _ in range(12):
            clock[0] += 1
            shown.step(30, sums)
        assert said == ["30 images/s: about 33 min left for 40 epochs"]
        clock[0] += 5
        shown.epoch(row(1))
        assert len(said) == 1, "nothing within ten seconds"
        clock[0] += 6
        shown.epoch(row(2))
        assert said[1].startswith("epoch 2/40")
        assert said[1].endswith("64 min left")


def test_a_short_run_says_nothing_before_its_end(clock: list[float]) -> None:
    said: list[str] = []
    with Progress(1, 300, 0, 1, said.append) as shown:
        for _ in range(9):
            clock[0] += 1
            shown.step(30, torch.zeros(2))
        shown.end(1, 0.0)
    assert len(said) == 1
    assert said[0].startswith("1 epoch, the best is 1")
