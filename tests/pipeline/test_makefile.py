"""What `make` promises beyond the commands it runs."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import workspace

LEFT_BEHIND = (
    "data/raw/shard.tar",
    "data/splits/split.csv",
    "data/prepared/train.npy",
    "data/predictions/predictions.csv",
    "models/model.safetensors",
    "models/model.onnx",
    "metrics/figures/confusion.png",
    "metrics/live/metrics.json",
    "metrics/report.html",
    "runs/resume/state.pt",
    "classifier/__pycache__/cli.pyc",
)
KEPT = ("data/images/cat/1.png", "models/notes.txt", "models/pretrained/timm/a.safetensors")


def test_clean_removes_what_runs_leave_behind_and_nothing_else(tmp_path: Path) -> None:
    place = workspace.fresh(tmp_path / "project")
    place.run("make", "clean")
    assert place.run("git", "status", "--porcelain").stdout == "", "of a fresh clone"
    for name in LEFT_BEHIND + KEPT:
        (place.path / name).parent.mkdir(parents=True, exist_ok=True)
        (place.path / name).write_bytes(b"x")
    place.run("make", "clean")
    assert [name for name in LEFT_BEHIND if (place.path / name).exists()] == []
    assert [name for name in KEPT if not (place.path / name).exists()] == []
    assert place.run("git", "status", "--porcelain").stdout == "?? models/notes.txt\n"


def test_an_unpacked_zip_says_what_it_lacks(tmp_path: Path) -> None:
    place = workspace.fresh(tmp_path / "project")
    shutil.rmtree(place.path / ".git")
    found = subprocess.run(
        ["make", "repro"],
        cwd=place.path,
        env=workspace.environment(),
        capture_output=True,
        text=True,
    )
    assert found.returncode != 0
    assert "no Git repository" in found.stdout
    assert not (place.path / ".venv").exists()


def test_the_command_is_python_m_classifier(tmp_path: Path) -> None:
    place = workspace.fresh(tmp_path / "project")
    workspace.pretend_set_up(place)
    place.run("make", ".venv/bin/classifier")
    options = {"cwd": place.path, "env": workspace.environment()}
    ways = [".venv/bin/classifier"], [sys.executable, "-m", "classifier"]
    helps = [subprocess.check_output([*way, "--help"], **options) for way in ways]
    assert helps[0] == helps[1]
    assert b"verbs:" in helps[0]
