"""What a stage says of itself to whoever started it."""

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import stages
from classifier import cli
from classifier.core.errors import UserError
from classifier.core.process import PROGRESS, PUTS_BACK, run_dir, stage
from classifier.training.run.live_files import LiveFiles
from tests.support import toy_project
from tests.support.toy_project import Toy
from tests.support.workspace import environment
from tools import ROOT

ROWS = [{"epoch": 1, "val_loss": 0.5, "lr": 0.1}, {"epoch": 2, "val_loss": 0.25, "lr": 0.1}]


def train(history: list[dict[str, float]]) -> None:
    live = LiveFiles(Path("history.csv"), Path("train.json"), Path("live"))
    live(history[:1])
    live(history)
    raise UserError("the loss is not a number.")


def test_a_stage_tells_its_epochs_and_its_error_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PROGRESS, str(tmp_path / "told.jsonl"))
    with pytest.raises(SystemExit):
        stage("train", lambda: train(ROWS))
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert told == [{"stage": "train"}, *ROWS, {"error": "the loss is not a number."}]

    monkeypatch.delenv(PROGRESS)
    (tmp_path / "told.jsonl").unlink()
    with pytest.raises(SystemExit):
        stage("train", lambda: train(ROWS))
    assert not (tmp_path / "told.jsonl").exists()


def test_an_experiment_in_a_folder_of_its_own_keeps_its_state_in_the_project(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    code = project.read("toy.py")
    told = code.replace('tell(stage="train")', 'tell(at=os.getcwd(), root=os.environ["DVC_ROOT"])')
    assert told != code
    (project.path / "toy.py").write_text(told, encoding="utf-8")
    progress = tmp_path / "told.jsonl"
    project.dvc("exp", "run", "--temp", "-S", "train.lr=0.7", env={PROGRESS: str(progress)})
    facts = json.loads(progress.read_text(encoding="utf-8").splitlines()[0])
    assert not Path(facts["at"]).exists()
    monkeypatch.setenv("DVC_ROOT", facts["root"])
    assert run_dir() == project.path / ".run"


STOPPED = """
import os, signal, sys, time
from pathlib import Path
from classifier.core.files import replacing
from classifier.core.process import stage
def main():
    with replacing("out") as temporary:
        temporary.mkdir()
        (temporary / "half").touch()
        print("begun", flush=True)
        time.sleep(float(sys.argv[1]))
# The tests themselves may be run by `nohup`.
signal.signal(signal.SIGHUP, signal.SIG_IGN if len(sys.argv) > 2 else signal.SIG_DFL)
stage("download", main)
"""


def started(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A stage in a process of its own, in the middle of its writing."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, *arguments],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_stage_that_is_stopped_takes_what_is_half_written_with_it(
    tmp_path: Path, sign: str
) -> None:
    process = started(tmp_path, "60")
    process.send_signal(getattr(signal, sign))
    assert process.communicate(timeout=60) == ("", "download stopped.\n")
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As `nohup` has it."""
    process = started(tmp_path, "1", "nohup")
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert (tmp_path / "out/half").exists()


def test_a_full_disk_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "data/raw")

    with pytest.raises(SystemExit) as ended:
        stage("download", main)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said == "error: the disk is full (data/raw): free some space and run again.\n"


def test_a_bug_is_no_sentence() -> None:
    def main() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        stage("download", main)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


NO_MEMORY = "error: the memory did not suffice: free some, or allow this process more.\n"


def test_a_limit_of_memory_that_the_imports_meet_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ImportError("libtorch.so: failed to map segment from shared object")
    stages._explain(type(error), error, None)
    assert capsys.readouterr().err == NO_MEMORY

    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    assert cli.main(["models"]) == 1
    assert capsys.readouterr().err == NO_MEMORY
    stages._explain(ValueError, ValueError("a bug"), None)
    assert "a bug" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, False),  # dvc repro
        ({"DVC_EXP_BASELINE_REV": "abc"}, True),  # dvc exp run
        ({"DVC_EXP_BASELINE_REV": "abc", PUTS_BACK: "1"}, False),  # a recipe
        ({"DVC_EXP_BASELINE_REV": "abc", "DVC_ROOT": "/elsewhere"}, False),  # one of the queue
    ],
)
def test_a_failed_experiment_says_how_to_take_its_values_back(
    variables: dict[str, str],
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PUTS_BACK, raising=False)
    for name, value in ({"DVC_ROOT": str(tmp_path)} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        stage("train", lambda: train(ROWS))
    assert ("git checkout HEAD params.yaml" in capsys.readouterr().err) == said
