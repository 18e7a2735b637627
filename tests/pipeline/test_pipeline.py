"""The whole pipeline through the real commands: repro, experiments, diffs, push and pull."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.support import workspace
from tests.support.workspace import Workspace, ran
from tools.stage_packages import is_code

FIXED_METRICS = {
    "metrics/evaluate.json": {
        "test_accuracy",
        "test_loss",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "f1_weighted",
    },
    "metrics/train.json": {"best_epoch", "val_accuracy", "val_loss", "parameters"},
}


def is_stale(place: Workspace) -> set[str]:
    """The stages that DVC would run because of what changed in them alone.

    What `dvc status --json` prints, without a process each time.
    """
    with contextlib.chdir(place.path), Repo() as repo:
        return set(repo.status())


def test_the_default_run_classifies_digits(finished: Workspace) -> None:
    for name, keys in FIXED_METRICS.items():
        assert keys <= json.loads(finished.read(name)).keys()
    # The bar for the mean of three seeds is 0.99; one seed on 360 images scatters by 0.005.
    assert json.loads(finished.read("metrics/evaluate.json"))["test_accuracy"] >= 0.98
    report = finished.path / "metrics" / "report.html"
    assert report.stat().st_size > 10_000
    assert list((finished.path / "metrics" / "figures").glob("*.png"))


def test_a_finished_run_is_clean_and_repeating_it_does_nothing(finished: Workspace) -> None:
    assert is_stale(finished) == set()
    again = finished.dvc("repro")
    assert ran(again.stdout) == []
    assert "up to date" in again.stdout
    assert finished.run("git", "status", "--porcelain").stdout == ""


def test_the_committed_results_are_those_of_the_committed_code(finished: Workspace) -> None:
    """The code, the parameters and the prepared data are to the byte; scores by their value.

    Another kind of machine may round differently in the last bits of a model.
    """
    if not finished.run("git", "ls-tree", "HEAD~1", "dvc.lock").stdout:
        pytest.skip("no results are committed")
    committed, fresh = (
        yaml.safe_load(text)["stages"]
        for text in (
            finished.run("git", "show", "HEAD~1:dvc.lock").stdout,
            finished.read("dvc.lock"),
        )
    )
    assert list(committed) == list(fresh)
    for name, stage in fresh.items():
        kept = {entry["path"]: entry["md5"] for entry in committed[name]["deps"]}
        ours = {entry["path"]: entry["md5"] for entry in stage["deps"]}
        assert kept.keys() == ours.keys()
        assert {path for path in ours if is_code(path) and ours[path] != kept[path]} == set()
        assert committed[name].get("params") == stage.get("params")
        if name in ("download", "split", "preprocess"):
            assert committed[name]["outs"] == stage["outs"]
    for path, key in (("train", "val_accuracy"), ("evaluate", "test_accuracy")):
        before = json.loads(finished.run("git", "show", f"HEAD~1:metrics/{path}.json").stdout)
        after = json.loads(finished.read(f"metrics/{path}.json"))
        assert after[key] == pytest.approx(before[key], abs=0.02)


def test_an_experiment_reruns_only_what_it_must_and_can_be_compared(
    experiment: tuple[Workspace, list[str]],
) -> None:
    place, stages = experiment
    assert stages == ["train", "evaluate", "plot"]

    metrics = json.loads(place.dvc("metrics", "diff", "--json").stdout)
    assert "test_accuracy" in metrics["metrics/evaluate.json"]
    params = json.loads(place.dvc("params", "diff", "--json").stdout)
    assert params["params.yaml"]["train.lr"]["new"] == 0.001
    rows = place.dvc("exp", "show", "--csv").stdout.splitlines()
    assert any("slower" in line for line in rows)
    page = place.dvc("plots", "diff", "--out", ".run/compared")
    assert (place.path / ".run/compared/index.html").exists(), page.stderr
    columns = place.dvc("metrics", "diff").stdout.splitlines()
    assert len(columns) <= 45, "one screen"
    assert max(map(len, columns)) <= 110, "no wrapped columns"
    # As the documentation has it, of one changed parameter: here are three.
    table = ["exp", "show", "--only-changed", "--drop", ".*(/|macro|weighted|train_|epochs|seed)"]
    for command in (["metrics", "show", "metrics/evaluate.json"], table):
        widest = max(map(len, place.dvc(*command).stdout.splitlines()))
        assert 80 < widest <= 120, f"{command}: {widest} columns"


@pytest.mark.slow  # DVC's queue itself; tests/experiments/test_folds.py runs some with --temp
def test_experiments_queue_and_run_in_temporary_folders(
    finished: Workspace, tmp_path: Path
) -> None:
    place = workspace.copy(finished, tmp_path / "copy")
    place.dvc("exp", "run", "--queue", "-S", "train.lr=0.01,0.003", "-S", "train.epochs=1")
    place.dvc("exp", "run", "--run-all")
    place.dvc("exp", "run", "--temp", "-n", "apart", "-S", "train.epochs=1")
    rows = place.dvc("exp", "show", "--csv").stdout
    assert "apart" in rows
    assert len({line.split(",")[0] for line in rows.splitlines()}) >= 1
    assert len(place.dvc("exp", "list", "--name-only").stdout.split()) == 3
    assert place.run("git", "status", "--porcelain").stdout == ""


def test_a_second_clone_pulls_the_same_files(finished: Workspace, tmp_path: Path) -> None:
    place = workspace.copy(finished, tmp_path / "copy")
    place.dvc("remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    place.dvc("push")
    clone = Workspace(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", str(place.path), str(clone.path)], check=True)
    clone.dvc("remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    clone.dvc("pull")
    lock = yaml.safe_load(place.read("dvc.lock"))["stages"]
    outs = [out["path"] for stage in lock.values() for out in stage["outs"]]
    for out in outs:
        ours, theirs = place.path / out, clone.path / out
        files = [p for p in ours.rglob("*") if p.is_file()] if ours.is_dir() else [ours]
        assert files
        for file in files:
            assert file.read_bytes() == (theirs / file.relative_to(ours)).read_bytes()
    assert is_stale(clone) == set()


def test_an_edit_makes_exactly_its_stages_stale(finished: Workspace, tmp_path: Path) -> None:
    place = workspace.copy(finished, tmp_path / "copy")
    for file, stale in {
        "classifier/images/decode.py": {"download", "split", "preprocess"},
        "classifier/augment/color.py": {"train"},
        "classifier/models/networks/vgg.py": {"train", "evaluate"},
        "classifier/metrics/bootstrap.py": {"evaluate", "plot"},
        "classifier/report/figures/curves.py": {"plot"},
        "classifier/report/page/page.css": {"plot"},
        "classifier/inference/predict.py": set(),
        "classifier/models/.registry.py.swp": set(),
        "classifier/models/registry.py~": set(),
        "data/corrections.csv": {"split"},
        "stages/split.py": {"split"},
        "stages/plot.py": {"plot"},
        "stages/download.py": {"download"},
        "README.md": set(),
        "classifier/cli.py": set(),
    }.items():
        path = place.path / file
        before = path.read_bytes() if path.exists() else None
        path.write_bytes((before or b"") + b"\n# an edit\n")
        assert is_stale(place) == stale, file
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


def test_a_parameter_makes_exactly_its_stage_stale(finished: Workspace, tmp_path: Path) -> None:
    """And the report, which shows every parameter."""
    place = workspace.copy(finished, tmp_path / "copy")
    before = place.read("params.yaml")
    for key, value, stage in (
        ("train__lr", 0.5, "train"),
        ("augment__shift", 0.0, "train"),
        ("split__seed", 12345, "split"),
        ("preprocess__image_size", 16, "preprocess"),
    ):
        place.set(**{key: value})
        assert is_stale(place) == {stage, "plot"}, key
        (place.path / "params.yaml").write_text(before, encoding="utf-8")


def test_a_mistake_in_a_parameter_ends_in_one_sentence(finished: Workspace, tmp_path: Path) -> None:
    place = workspace.copy(finished, tmp_path / "copy")
    before = place.read("dvc.lock")
    place.set(train__optimizer="adma")
    run = place.dvc("repro", check=False)
    assert run.returncode != 0
    text = run.stdout + run.stderr
    assert "error: train.optimizer is 'adma'" in text
    assert "Traceback" not in text
    assert place.read("dvc.lock") == before


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="needs a virtual environment")
def test_images_that_are_not_there_end_in_one_sentence(tmp_path: Path) -> None:
    """DVC stops before the stage could say anything, with no word about the parameter."""
    place = workspace.fresh(tmp_path / "project", with_results=False)
    place.set(download__source="folder", download__path="data/photos")
    workspace.pretend_set_up(place)
    run = place.run("make", "repro", check=False)
    assert run.returncode != 0
    assert "error: download.path: data/photos does not exist: name the folder" in run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert not (place.path / "data" / "raw").exists()
