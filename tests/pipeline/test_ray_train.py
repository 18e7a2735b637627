"""Training on two nodes of a Ray cluster: the bytes of torchrun, whatever is killed or stopped.

Slow, for each run starts Ray, and below it the ranks.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from classifier.core import engine
from classifier.core.errors import UserError
from classifier.training.ray_train import place
from tests.pipeline.test_resume import MODEL, ONE_THREAD, digest, states
from tests.support import ray_cluster, workspace
from tests.support.prepared_digits import prepared_digits
from tests.support.workspace import Workspace, environment

TWO_RANKS = ONE_THREAD | {"CLASSIFIER_RANKS": "2", engine.ENGINE: "ray"}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Trained by torchrun in two processes, which its data still waits for in a copy."""
    project = workspace.fresh(tmp_path_factory.mktemp("straight"), with_results=False)
    prepared_digits(project.path / "data/prepared", train=640, val=144)
    project.set(train__epochs=8, train__processes=2, train__checkpoint_every="0.002 minutes")
    project.run("python", "-m", "stages.train", env=ONE_THREAD)
    return project


@pytest.fixture
def project(straight: Workspace, tmp_path: Path) -> Workspace:
    result = workspace.copy(straight, tmp_path / "project")
    (result.path / MODEL).unlink()
    result.set(train__processes=1)
    return result


def train(project: Workspace, at_a_state: Callable[[int], object]) -> tuple[int, str]:
    """Train on Ray; call ``at_a_state`` with the process once a state was saved."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=project.path,
        env=environment() | TWO_RANKS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not states(project):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        at_a_state(process.pid)
        output, _ = process.communicate(timeout=400)
    finally:
        process.kill()
    assert not list((project.path / ".run").glob("ray-*"))
    return process.returncode, output


@pytest.mark.slow
def test_a_node_that_is_killed_changes_no_byte(project: Workspace, straight: Workspace) -> None:
    with ray_cluster.two_nodes() as (cluster, second):

        def lose(_: int) -> None:
            cluster.remove_node(second, allow_graceful=False)
            ray_cluster.add_node(cluster)

        status, output = train(project, lose)
    assert status == 0, output
    assert "in 2 processes\ngoing on with epoch" in output
    assert digest(project) == digest(straight)


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_to_the_same_bytes(
    project: Workspace, straight: Workspace
) -> None:
    with ray_cluster.two_nodes():
        status, output = train(project, lambda process: os.kill(process, signal.SIGINT))
        assert status == 130, output
        assert "run the same command again" in output
        assert "Traceback" not in output
        again = project.run("python", "-m", "stages.train", env=TWO_RANKS).stdout
    assert "going on with epoch" in again
    assert digest(project) == digest(straight)


@pytest.mark.slow
def test_what_a_rank_refuses_is_told_once_and_not_tried_again(project: Workspace) -> None:
    project.set(train__batch_size=1)
    with ray_cluster.two_nodes():
        ended = project.run("python", "-m", "stages.train", check=False, env=TWO_RANKS)
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        "error: train.batch_size: 1 is not a multiple of the 2 processes"
    )
    assert ended.stderr.count("\n") == 1


def test_a_number_of_ranks_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFIER_RANKS", "many")
    with pytest.raises(UserError, match="CLASSIFIER_RANKS is 'many': give a whole number"):
        place(1, "stages.train")
