"""A training run that is killed, again and again, ends as if it had never been."""

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import workspace
from tests.support.prepared_digits import prepared_digits
from tests.support.workspace import Workspace, environment

TRAIN = ("python", "-m", "stages.train")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # faster than two where tests run side by side
MODEL = "models/model.safetensors"
SEED = int(os.environ.get("KILL_SEED", time.time_ns() % 10**6))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project with prepared digits, as the stage `train` finds it."""
    result = workspace.fresh(tmp_path_factory.mktemp("resume"), with_results=False)
    prepared_digits(result.path / "data/prepared", train=640, val=144)
    result.set(train__epochs=30, train__checkpoint_every="0.002 minutes")
    return result


@pytest.fixture(scope="module")
def straight(project: Workspace) -> str:
    """The hash of the model from a run that nothing disturbed."""
    project.run(*TRAIN, env=ONE_THREAD)
    return digest(project)


def digest(project: Workspace) -> str:
    return hashlib.sha256((project.path / MODEL).read_bytes()).hexdigest()


def states(project: Workspace) -> set[tuple[str, int]]:
    """The states kept so far."""
    found = (project.path / ".run").glob("checkpoints/*/newest.state")
    result = set()
    for path in found:
        try:
            result.add((path.parent.name, path.stat().st_mtime_ns))
        except FileNotFoundError:  # the run has just ended
            continue
    return result


def start(
    project: Workspace, *command: str, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, so that all of it can be killed."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=project.path,
        env=environment() | ONE_THREAD | (env or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_in_training(
    project: Workspace,
    moment: random.Random,
    *command: str,
    sign: int = signal.SIGKILL,
    env: dict[str, str] | None = None,
) -> str:
    """Run a command; end it at a random moment of training, once a new state was kept."""
    before = states(project)
    process = start(project, *command, env=env)
    try:
        while not states(project) - before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moment.uniform(0, 0.3))
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(process.pid, sign)
        output = process.communicate(timeout=60)[0]
    return output


def test_killed_at_a_random_moment_it_ends_in_the_same_model(
    project: Workspace, straight: str
) -> None:
    (project.path / MODEL).unlink()
    kill_in_training(project, random.Random(SEED), *TRAIN)
    assert states(project)
    output = project.run(*TRAIN, env=ONE_THREAD).stdout
    assert "going on " in output, f"KILL_SEED={SEED}"
    assert digest(project) == straight, f"KILL_SEED={SEED}: {output}"
    assert not states(project), "the state is removed when the run has ended well"


@pytest.mark.slow
def test_killed_at_any_moment_at_all_it_ends_in_the_same_model(
    project: Workspace, straight: str
) -> None:
    """While importing, resuming, training or writing the model."""
    moment = random.Random(SEED)
    for _ in range(4):
        process = start(project, *TRAIN)
        time.sleep(moment.uniform(0, 6))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    output = project.run(*TRAIN, env=ONE_THREAD).stdout
    assert digest(project) == straight, f"KILL_SEED={SEED}: {output}"


@pytest.mark.slow  # tests/training/test_run_key.py says quickly what starts afresh
def test_another_parameter_code_or_image_starts_afresh(project: Workspace, straight: str) -> None:
    kill_in_training(project, random.Random(SEED), *TRAIN)
    kept = states(project)
    assert kept
    changed = workspace.copy(project, project.path.parent / "changed")
    changed.set(train__epochs=1, train__lr=0.004)
    assert "going on" not in changed.run(*TRAIN, env=ONE_THREAD).stdout
    changed.set(train__epochs=30, train__lr=0.005)
    for name in ("classifier/training/optimization/schedules.py", "data/prepared/train.npy"):
        content = (changed.path / name).read_bytes()
        (changed.path / name).write_bytes(content[:-1] + b" ")
        assert "going on" not in kill_in_training(changed, random.Random(SEED), *TRAIN), name
        (changed.path / name).write_bytes(content)
    assert kept & states(changed), "the state that fits is still there"


# Read by every Python that starts with its folder on the path.
SITE = """
import importlib.metadata, os, pathlib, sys
order, package = os.environ["FILES"], os.environ["OTHER"]
glob, rglob, version = pathlib.Path.glob, pathlib.Path.rglob, importlib.metadata.version
def ordered(find):
    return lambda place, name: sorted(find(place, name), reverse=order == "backwards")
pathlib.Path.glob, pathlib.Path.rglob = ordered(glob), ordered(rglob)
importlib.metadata.version = lambda name: version(name) + ".other" * (name == package)
if package == "numpy":
    import numpy
    numpy.__version__ += ".other"
"""


@pytest.mark.slow  # like the one above
def test_what_changes_no_bit_loses_no_state_and_other_versions_start_afresh(
    project: Workspace, straight: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    here = {"PYTHONPATH": str(tmp_path), "FILES": "forwards", "OTHER": ""}
    killed = workspace.copy(project, tmp_path / "killed")
    kill_in_training(killed, random.Random(SEED), *TRAIN, env=here)
    for package in ("numpy", "torchvision"):
        changed = workspace.copy(killed, tmp_path / package)
        other = here | {"OTHER": package}
        output = kill_in_training(changed, random.Random(SEED), *TRAIN, env=other)
        assert "going on" not in output, package
    killed.set(
        train__checkpoint_every="7 epochs",
        train__data_placement="stream",
        train__device="cpu",
        model__vgg__depth=16,
    )
    output = killed.run(*TRAIN, env=ONE_THREAD | here | {"FILES": "backwards"}).stdout
    assert "going on with epoch" in output
    assert digest(killed) == straight


def test_dvc_repro_goes_on_after_ctrl_c(project: Workspace, straight: str) -> None:
    """The terminal sends it to dvc as well, which must not speak first."""
    dvc = ("dvc", "repro", "--single-item", "train")
    (project.path / MODEL).unlink(missing_ok=True)
    output = kill_in_training(project, random.Random(SEED), *dvc, sign=signal.SIGINT)
    assert "of 30; run the same command again to go on from there." in output
    assert "Traceback" not in output
    output = project.dvc(*dvc[1:], env=ONE_THREAD).stdout
    assert "going on " in output, f"KILL_SEED={SEED}: {output}"
    assert digest(project) == straight


@pytest.mark.slow
@pytest.mark.parametrize("where", [[], ["--temp"]], ids=["workspace", "temp"])
def test_experiments_go_on_after_kills(
    finished: Workspace, tmp_path: Path, where: list[str]
) -> None:
    changes = ["-S", "train.epochs=60", "-S", "train.checkpoint_every='0.002 minutes'"]
    undisturbed = workspace.copy(finished, tmp_path / "undisturbed")
    undisturbed.dvc("exp", "run", *changes, env=ONE_THREAD)
    project = workspace.copy(finished, tmp_path / "killed")
    command = ("exp", "run", "--name", "killed", *where, *changes)
    moment = random.Random(SEED + 2)
    for _ in range(2):
        kill_in_training(project, moment, "dvc", *command)
    output = project.dvc(*command, env=ONE_THREAD).stdout
    assert "going on " in output, f"KILL_SEED={SEED}: {output}"
    if where:
        project.dvc("exp", "apply", "killed")
    assert digest(project) == digest(undisturbed)
