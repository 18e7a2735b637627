"""Checkpoints: whole or not at all, the one before as a fallback, named after what decides."""

import os
import time
from pathlib import Path

import pytest
import torch

from classifier.core.errors import UserError
from classifier.training.run.checkpoint import (
    FORGOTTEN_AFTER,
    KEPT_RUNS,
    PERHAPS_RUNNING,
    Checkpoints,
    interval,
)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run", "1 epoch")


def test_nothing_saved_is_nothing_to_load(checkpoints: Checkpoints) -> None:
    assert checkpoints.load() is None


def test_what_is_saved_is_loaded(checkpoints: Checkpoints) -> None:
    weights = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    state = {"epoch": 3, "network": {"w": weights}, "history": [{"loss": 0.5}], "average": None}
    checkpoints.save(state)
    found = checkpoints.load()
    assert found is not None
    assert found["epoch"] == 3
    assert found["history"] == [{"loss": 0.5}]
    assert torch.equal(found["network"]["w"], weights)


@pytest.mark.parametrize("keep", [0, 10, 40, -100])
def test_a_file_cut_short_falls_back_to_the_one_before(checkpoints: Checkpoints, keep: int) -> None:
    checkpoints.save({"epoch": 1})
    checkpoints.save({"epoch": 2})
    newest = checkpoints.folder / "newest.state"
    newest.write_bytes(newest.read_bytes()[:keep])
    assert checkpoints.load() == {"epoch": 1}


def test_a_flipped_bit_is_noticed_and_without_another_state_the_run_begins_afresh(
    checkpoints: Checkpoints,
) -> None:
    checkpoints.save({"epoch": 1})
    newest = checkpoints.folder / "newest.state"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert checkpoints.load() is None


def test_a_kill_between_the_two_moves_leaves_the_one_before(checkpoints: Checkpoints) -> None:
    checkpoints.save({"epoch": 1})
    os.replace(checkpoints.folder / "newest.state", checkpoints.folder / "previous.state")
    (checkpoints.folder / ".newest.state.1.partial").write_bytes(b"half")
    assert checkpoints.load() == {"epoch": 1}


def test_remove_leaves_nothing(checkpoints: Checkpoints) -> None:
    checkpoints.save({"epoch": 1})
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    checkpoints.remove()


def test_abandoned_runs_are_forgotten(tmp_path: Path) -> None:
    for name in ("old", "new"):
        Checkpoints(tmp_path / name, "1 epoch").save({"epoch": 1})
    long_ago = time.time() - FORGOTTEN_AFTER - 60
    os.utime(tmp_path / "old", (long_ago, long_ago))
    Checkpoints(tmp_path / "mine", "1 epoch")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_a_sweep_that_is_killed_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    """Of runs that cannot be running any more, the newest few stay."""
    now = time.time()
    for number in range(KEPT_RUNS + 5):
        Checkpoints(tmp_path / f"run{number:02}", "1 epoch").save({"epoch": 1})
        age = 60 * number if number < 2 else PERHAPS_RUNNING + 60 * number
        os.utime(tmp_path / f"run{number:02}", (now - age, now - age))
    Checkpoints(tmp_path / "mine", "1 epoch")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"run{number:02}" for number in range(KEPT_RUNS)
    ]


def test_running_neighbors_are_left_alone(tmp_path: Path) -> None:
    for number in range(KEPT_RUNS + 5):
        Checkpoints(tmp_path / str(number), "1 epoch").save({"epoch": 1})
    assert len(list(tmp_path.iterdir())) == KEPT_RUNS + 5


def test_a_half_that_a_kill_left_is_removed(checkpoints: Checkpoints) -> None:
    checkpoints.save({"epoch": 1})
    half = checkpoints.folder / ".newest.state.1.partial"
    half.write_bytes(b"half")
    long_ago = time.time() - PERHAPS_RUNNING - 60
    os.utime(half, (long_ago, long_ago))
    assert Checkpoints(checkpoints.folder, "1 epoch").load() == {"epoch": 1}
    assert not half.exists()


def test_epochs_are_counted(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "2 epochs")
    assert [checkpoints.due(epoch_ended=end) for end in (False, True, False, True)] == [
        False,
        False,
        False,
        True,
    ]
    checkpoints.save({})
    assert not checkpoints.due(epoch_ended=True)


def test_minutes_are_due_within_an_epoch(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "0.0005 minutes")
    assert not checkpoints.due(epoch_ended=False)
    time.sleep(0.05)
    assert checkpoints.due(epoch_ended=False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1 epoch", (1, 0)), ("12 epochs", (12, 0)), ("5 minutes", (0, 300)), ("1 minute", (0, 60))],
)
def test_intervals(text: str, wanted: tuple[int, float]) -> None:
    assert interval(text) == wanted


@pytest.mark.parametrize("text", ["", "epoch", "0 epochs", "-1 minutes", "5 hours", "1.5 epochs"])
def test_other_intervals_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"train\.checkpoint_every"):
        interval(text)
