"""The number of CPU threads: it changes no bit of a small network, and is recorded for others."""

import hashlib
import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from classifier.models.spec import read_spec
from classifier.training.numerics import choose_numerics, cpu_threads
from tests.pipeline.test_resume import MODEL, SEED, TRAIN, digest, kill_in_training
from tests.support import workspace
from tests.support.prepared_digits import prepared_digits
from tests.support.workspace import Workspace

CPU = torch.device("cpu")
one_core = pytest.mark.skipif(shutil.which("taskset") is None, reason="needs Linux's taskset")


def threads(number: int) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(number)}


def in_threads(number: int, project: Workspace, *stages: str) -> str:
    """Run stages with so many threads to choose from; what they print."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)  # what a process of its own would find
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", str(number))
            return project.stages(*stages)
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Digits for two epochs of a network that is not small."""
    result = workspace.fresh(tmp_path_factory.mktemp("threads"), with_results=False)
    prepared_digits(result.path / "data/prepared", train=256, val=65)
    result.set(train__epochs=2, model__name="resnet", evaluate__bootstrap_samples=20)
    return result


@pytest.fixture(scope="module")
def in_three(project: Workspace) -> str:
    """The model's hash after training in three threads."""
    in_threads(3, project, "train")
    return digest(project)


def trained(project: Workspace) -> tuple[int, int]:
    """The number of threads that train.json and the model's header name."""
    metrics = json.loads(project.read("metrics/train.json"))
    return metrics["threads"], read_spec(project.path / MODEL).extra["threads"]


def test_a_small_network_takes_one_thread_whatever_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert choose_numerics(CPU, multiply_adds=10**6).threads == 1
    large = choose_numerics(CPU, "fp32", multiply_adds=10**7)
    assert large.threads == 3
    assert str(large).endswith(", 3 threads")
    assert choose_numerics(torch.device("cuda"), "fp16", multiply_adds=10**7).threads == 0


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("5,2", 5), ("0", 0), ("x", 0), (None, 0)])
def test_the_number_of_threads_is_that_of_the_environment_or_torchs(
    monkeypatch: pytest.MonkeyPatch, text: str | None, number: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if text is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert cpu_threads() == (number or torch.get_num_threads())


def test_the_default_network_gives_the_same_bytes_in_any_number_of_threads(
    project: Workspace, tmp_path: Path
) -> None:
    default = workspace.copy(project, tmp_path / "default")
    default.set(model__name="cnn")
    found = []
    for number in (1, 3):
        in_threads(number, default, "train", "evaluate")
        found.append(contents(default))
        assert trained(default) == (1, 1)
    assert found[0] == found[1]


@one_core
def test_the_recorded_number_of_threads_gives_the_same_bytes_on_fewer_cores(
    project: Workspace, in_three: str
) -> None:
    assert trained(project) == (3, 3)
    core = min(os.sched_getaffinity(0))
    project.run("taskset", "-c", str(core), "python", "-m", "stages.train", env=threads(3))
    assert digest(project) == in_three
    in_threads(1, project, "train")
    assert trained(project) == (1, 1)
    assert digest(project) != in_three, "if sums do not differ, nothing was tested"


def test_a_run_that_is_taken_up_elsewhere_keeps_its_number_of_threads(
    project: Workspace, in_three: str, tmp_path: Path
) -> None:
    killed = workspace.copy(project, tmp_path / "killed")
    killed.set(train__checkpoint_every="0.002 minutes")
    kill_in_training(killed, random.Random(SEED), *TRAIN, env=threads(3))
    output = in_threads(1, killed, "train")
    assert "going on with epoch" in output
    assert "3 CPU threads, as this run began" in output
    assert digest(killed) == in_three
    assert trained(killed) == (3, 3)


def test_evaluation_does_not_depend_on_the_cores(project: Workspace, tmp_path: Path) -> None:
    other = workspace.copy(project, tmp_path / "other")
    # Of these networks the last bits of a single pass follow the number of threads.
    other.set(model__name="convnext", train__epochs=1)
    in_threads(1, other, "train")
    found = []
    for number in (1, 3):
        in_threads(number, other, "evaluate")
        found.append(contents(other))
    assert found[0] == found[1]


def contents(project: Workspace) -> dict[str, str]:
    """The hash of every file that train and evaluate write."""
    patterns = ("data/predictions/*", "data/explain/*", "metrics/**/*.*", "models/*.*")
    files = [path for pattern in patterns for path in project.path.glob(pattern)]
    assert len(files) > 15
    names = {path.relative_to(project.path).as_posix(): path for path in files}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in names.items()}
