"""Several processes: the same loss curve as one, files written once, one sentence on a mistake."""

import csv
import operator
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from torch import distributed as dist

from classifier.models.forward import predict_logits
from classifier.models.registry import build
from classifier.training.distributed import Ranks
from tests.pipeline.test_resume import ONE_THREAD, TRAIN, digest, start, states
from tests.support import workspace
from tests.support.prepared_digits import prepared_digits
from tests.support.workspace import Workspace


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    result = workspace.fresh(tmp_path_factory.mktemp("ranks"), with_results=False)
    prepared_digits(result.path / "data/prepared", train=640, val=144)
    weights = [1.0, 2.0] * 5  # a batch, and a rank's part of it, have any mean weight
    result.set(train__epochs=3, train__lr=0.002, train__schedule="constant")
    result.set(train__class_weights=weights)
    return result


def history(project: Workspace) -> list[dict[str, float]]:
    with (project.path / "metrics/history.csv").open(encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_one_and_two_processes_have_the_same_loss_curve(project: Workspace) -> None:
    """Sums in another order differ in the last bits, which training magnifies step by step."""
    project.stages("train")
    one = history(project)
    project.set(train__processes=2)
    output = project.run(*TRAIN, env=ONE_THREAD)
    two = history(project)
    assert "in 2 processes" in output.stdout
    assert output.stdout.count("best is") == 1
    assert len(one) == len(two) == 3
    for ours, theirs, tolerance in zip(one, two, (1e-5, 1e-4, 1e-3), strict=True):
        for name in ("train_loss", "val_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=tolerance), name


def test_logits_of_ranks_with_and_without_images_are_put_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = build("cnn", {}, classes=3, channels=1, image_size=8).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    whole, none = (predict_logits(network, part, [0.5], [0.5]) for part in (images, images[:0]))
    parts = [none, whole[:1], whole[1:]]
    monkeypatch.setattr(
        dist, "all_gather_object", lambda found, part: operator.setitem(found, slice(3), parts)
    )
    ranks = Ranks()
    ranks.size = 3
    assert np.array_equal(ranks.gather(none), whole)


@pytest.mark.slow
def test_a_rank_may_have_no_image_to_validate_on(project: Workspace, tmp_path: Path) -> None:
    few = workspace.copy(project, tmp_path / "few")
    shutil.rmtree(few.path / "data/prepared")
    prepared_digits(few.path / "data/prepared", train=128, val=1)
    few.set(train__processes=2, train__epochs=1)
    output = few.run(*TRAIN, env=ONE_THREAD)
    assert "in 2 processes" in output.stdout
    assert 0 <= history(few)[0]["val_accuracy"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [True, False], ids=["all processes", "the launcher"])
def test_ctrl_c_stops_and_saves_the_ranks(project: Workspace, terminal: bool) -> None:
    project.set(train__processes=2, train__epochs=300)
    process = start(project, *TRAIN)
    while not list((project.path / ".run").glob("checkpoints/*/newest.state")):
        assert process.poll() is None
        time.sleep(0.1)
    if terminal:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "run the same command again to go on" in output
    assert "Traceback" not in output
    shutil.rmtree(project.path / ".run")


@pytest.mark.slow
def test_a_mistake_in_a_rank_is_one_sentence(project: Workspace) -> None:
    project.set(train__processes=2, train__epochs=3, train__lr=1.0e30, train__optimizer="sgd")
    output = project.run(*TRAIN, check=False, env=ONE_THREAD)
    assert output.returncode == 1
    errors = [line for line in output.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert "lower train.lr" in errors[0]
    assert "Traceback" not in output.stderr


@pytest.mark.slow
def test_a_killed_rank_ends_all_in_one_sentence_and_the_run_goes_on_to_the_same_bytes(
    project: Workspace, tmp_path: Path
) -> None:
    killed = workspace.copy(project, tmp_path / "killed")
    killed.set(train__processes=3, train__batch_size=96, train__epochs=8, train__lr=0.002)
    killed.set(train__optimizer="adamw", train__checkpoint_every="0.002 minutes")
    straight = workspace.copy(killed, tmp_path / "straight")
    straight.run(*TRAIN, env=ONE_THREAD)

    launcher = start(killed, *TRAIN)
    while not states(killed):
        assert launcher.poll() is None
        time.sleep(0.01)
    ranks = psutil.Process(launcher.pid).children(recursive=True)
    ranks[-1].kill()
    output = launcher.communicate(timeout=60)[0]
    assert launcher.returncode == 1
    assert output.count("error: ") == 1, output
    assert "was ended by SIGKILL" in output
    assert "Traceback" not in output
    assert not any(rank.is_running() for rank in ranks)

    assert "going on with epoch" in killed.run(*TRAIN, env=ONE_THREAD).stdout
    assert digest(killed) == digest(straight)


def test_nothing_is_left_behind(project: Workspace) -> None:
    assert not list(Path(project.path).rglob("*.partial"))
