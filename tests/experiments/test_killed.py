"""Experiments that fail, are stopped or are killed leave the workspace as it was."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from classifier.experiments.dvc_commands import RECORDS, mend
from tests.support import toy_project
from tests.support.toy_project import Toy, wait_for
from tools import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals differ there")

MADE_UP = "description: Higher.\ntrain:\n  lr: 0.8\n"


@pytest.fixture
def project(toy: Toy, tmp_path: Path) -> Toy:
    """The toy with a recipe, and with work of the user's that is not committed."""
    copy = toy_project.copy(toy, tmp_path / "project")
    (copy.path / "recipes").mkdir()
    (copy.path / "recipes/fast.yaml").write_text(MADE_UP, encoding="utf-8")
    copy.commit("a recipe")
    (copy.path / "toy.py").write_text(copy.read("toy.py") + "# mine\n", encoding="utf-8")
    return copy


def branch(project: Toy) -> str:
    return project.run("git", "symbolic-ref", "HEAD", check=False).stdout.strip()


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def trains(project: Toy, before: int) -> bool:
    """Whether the experiment in the workspace has made its first epoch."""
    history = project.path / "metrics/history.csv"
    with contextlib.suppress(FileNotFoundError):  # DVC removes it before the stage runs
        return history.stat().st_mtime_ns > before and "\n1," in history.read_text(encoding="utf-8")
    return False


def start(project: Toy, *options: str) -> "subprocess.Popen[str]":
    process = project.start("recipe", "fast", *options, seconds=60)
    before = (project.path / "metrics/history.csv").stat().st_mtime_ns
    wait_for(lambda: trains(project, before))
    return process


def test_params_yaml_is_put_back_where_an_experiment_fails(project: Toy) -> None:
    before = project.read("params.yaml")
    status, _, _ = project._call("recipe", "fast", "-S", "train.lr=2000")
    assert status != 0
    assert project.read("params.yaml") == before
    assert branch(project) == "refs/heads/main"
    assert not list((project.path / RECORDS).iterdir())


@pytest.mark.parametrize(
    "sign", [signal.SIGTERM, *(pytest.param(s, marks=pytest.mark.slow) for s in (2, 1))]
)
def test_a_stopped_experiment_ends_with_all_that_it_started(project: Toy, sign: int) -> None:
    before = project.read("params.yaml")
    process = start(project)
    started = family(process)
    process.send_signal(sign)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert str(ROOT / "classifier") not in said, "no traceback of ours"
    assert not [one for one in started if one.is_running()]
    assert project.read("params.yaml") == before
    assert branch(project) == "refs/heads/main"
    assert project.read("toy.py").endswith("# mine\n")


def test_after_a_kill_repair_puts_head_back(
    project: Toy, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start(project)
    started = family(process)
    for one in started:
        one.kill()
    process.communicate()
    psutil.wait_procs(started[1:], timeout=10)  # DVC honors the locks of what is still there
    assert branch(project) == "", "DVC works on a detached HEAD"
    whole = (project.path / "params.yaml").read_bytes()
    (project.path / "params.yaml").write_bytes(whole[: len(whole) // 2])
    assert project.classifier("repair") == ""
    assert branch(project) == "refs/heads/main"
    assert "0.8" not in project.read("params.yaml")
    assert project.read("params.yaml").endswith("\n")
    assert project.read("toy.py").endswith("# mine\n")
    assert not list((project.path / RECORDS).iterdir())
    project.classifier("recipe", "fast")
    assert project.run("git", "stash", "list").stdout == ""


@pytest.mark.slow
def test_one_that_is_running_is_waited_for(project: Toy) -> None:
    """Killed alone, it leaves DVC running; nothing is mended under that."""
    process = start(project)
    started = family(process)
    process.kill()
    process.wait()
    try:
        assert "experiment 'fast' is being run" in project.refused("recipe", "fast")
        assert branch(project) == ""
    finally:
        os.killpg(started[1].pid, signal.SIGKILL)
        psutil.wait_procs(started[1:], timeout=10)
    mend(project.path)
    assert branch(project) == "refs/heads/main"


def test_where_the_user_has_gone_since_nothing_is_moved(project: Toy) -> None:
    project.run("git", "commit", "-qam", "mine")
    project.run("git", "checkout", "-q", "HEAD~1")
    record = project.path / RECORDS / "fast.json"
    record.parent.mkdir(parents=True)
    params = project.read("params.yaml")
    before = {"branch": "refs/heads/main", "params": params, "processes": [[1, 0.0]]}
    record.write_text(json.dumps(before), encoding="utf-8")
    (project.path / "params.yaml").write_text(params.replace("lr: 0.5", "lr: 0.6"), "utf-8")
    mend(project.path)
    assert branch(project) == ""
    assert "lr: 0.6" in project.read("params.yaml"), "an edit of the user's"


@pytest.mark.slow  # in test_tune.py and test_folds.py, nothing goes on after such a kill either
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["recipe", "fast", "--temp"], id="recipe"),
        pytest.param(["tune", "-S", "train.lr=log(0.1,0.9)", "--trials", "1"], id="tune"),
    ],
)
def test_the_folder_of_a_killed_experiment_goes_with_the_next_run(
    project: Toy, command: list[str]
) -> None:
    folders = project.path / ".dvc/tmp/exps/standalone"
    process = project.start(*command, seconds=60)
    wait_for(lambda: list(folders.glob("tmp*/metrics/history.csv")))
    for one in family(process):
        one.kill()
    process.communicate()
    assert list(folders.glob("tmp*"))
    project.classifier(*command)
    assert not list(folders.glob("tmp*"))


@pytest.mark.slow
def test_the_clones_of_a_killed_verify_go_with_the_next_one(project: Toy) -> None:
    process = project.start("verify", seconds=60)
    clones = project.path / ".run"
    wait_for(lambda: list(clones.glob(".verify.*/1/metrics/history.csv")))
    for one in family(process):
        one.kill()
    process.communicate()
    assert len(list(clones.glob(".verify.*"))) == 1
    assert "reproducible: " in project.classifier("verify")
    assert not list(clones.glob(".verify.*"))
