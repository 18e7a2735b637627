"""`verify` compares runs from scratch: it finds a difference, and invents none."""

import os
from pathlib import Path

import pytest

from tests.support import toy_project
from tests.support.toy_project import Toy

SAVED = 'np.save("models/model.npy", [quality, train["seed"]])'


def test_equal_runs_are_called_reproducible(toy: Toy, tmp_path: Path) -> None:
    place = toy_project.copy(toy, tmp_path / "copy")
    before = place.read("dvc.lock")
    (place.path / "new.py").write_text("VALUE = 1\n", encoding="utf-8")
    code = place.read("toy.py").replace("import csv,", "import new; import csv,", 1)
    (place.path / "toy.py").write_text(code, encoding="utf-8")
    said = place.classifier("verify")
    assert "reproducible: 13 files are the same, byte for byte, in 2 runs" in said
    assert place.read("dvc.lock") == before, "the workspace stays as it was"


def test_a_stage_that_differs_each_time_is_found_with_all_that_follows(
    toy: Toy, tmp_path: Path
) -> None:
    place = toy_project.copy(toy, tmp_path / "copy")
    random = SAVED.replace('train["seed"]', "time.time_ns() % 10**6")
    code = place.read("toy.py").replace(SAVED, random)
    assert random in code
    (place.path / "toy.py").write_text(code, encoding="utf-8")
    status, out, _ = place._call("verify")
    assert status == 1
    assert "not reproducible: " in out
    named = {line.strip() for line in out.splitlines() if line.startswith("  ")}
    assert {"dvc.lock", "models/model.npy", "data/predictions/test_logits.npy"} <= named
    assert not any(name.startswith(("data/prepared", "metrics/train")) for name in named)


def test_weights_that_git_ignores_are_at_hand(toy: Toy, tmp_path: Path) -> None:
    place = toy_project.copy(toy, tmp_path / "copy")
    weights = place.path / "models/pretrained/timm/a.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"x")
    with (place.path / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("*.safetensors\n")
    code = (
        place.read("toy.py")
        + '\nassert open("models/pretrained/timm/a.safetensors").read() == "x"\n'
    )
    (place.path / "toy.py").write_text(code, encoding="utf-8")
    assert "reproducible: " in place.classifier("verify")


def test_a_pipeline_that_fails_is_no_comparison(toy: Toy, tmp_path: Path) -> None:
    place = toy_project.copy(toy, tmp_path / "copy")
    (place.path / "toy.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    status, _, error = place._call("verify")
    assert status == 1
    assert "dvc repro failed in the temporary clone" in error


def test_stages_run_with_the_python_that_runs_verify(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = toy_project.copy(toy, tmp_path / "copy")
    other = tmp_path / "bin" / "python"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho another python\nexit 3\n", encoding="utf-8")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    assert "reproducible: " in place.classifier("verify")
