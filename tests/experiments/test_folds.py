"""Cross-validation: every fold an experiment, none lost but those in flight."""

import csv
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.core.errors import UserError
from classifier.experiments.folds import out_of_fold_order, pooled, run_missing, spread
from classifier.experiments.revisions import Predictions, same_images
from classifier.experiments.trials import ExperimentRun
from tests.experiments.test_compare import made_up
from tests.support import toy_project
from tests.support.toy_project import Toy, wait_for


def test_spread_is_the_sample_deviation() -> None:
    assert spread([1.0, 2.0, 3.0]) == (2.0, 1.0)


def test_a_image_in_two_folds_is_refused() -> None:
    with pytest.raises(UserError, match="in two of the folds"):
        pooled([made_up("a", 0.5, 1), made_up("b", 0.5, 2)])


def test_many_long_ids_are_pooled_and_compared() -> None:
    """Sorting two rising runs of them crashes NumPy 2.4, but for the stable sort."""
    names = [f"train/some/folder/{number:07d}.jpg" for number in range(50_000)]
    ids = np.array(names, np.dtypes.StringDType())
    labels, logits = np.zeros(25_000, np.int64), np.zeros((25_000, 2), np.float32)
    parts = [
        Predictions("fold", {}, "val", ("a", "b"), ids[start::2], labels, logits)
        for start in (0, 1)
    ]
    whole = pooled(parts)
    assert whole.ids[out_of_fold_order(whole)].tolist() == names
    with pytest.raises(UserError, match="25000 images, 0 in both"):
        same_images(parts)


def test_folds_run_once_and_are_pooled(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    printed = project.classifier("folds", "-k", "3", "-S", "train.lr=0.7", "-n", "cv", "-j", "2")
    assert printed.startswith("3 folds")
    assert "450 images: runs/cv/out_of_fold.csv" in printed
    with (project.path / "runs/cv/out_of_fold.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == 450
    right = np.mean([row["actual"] == row["predicted"] for row in rows])
    facts = json.loads(project.read("runs/cv/folds.json"))["metrics"]["accuracy"]
    assert facts["out_of_fold"][0] == pytest.approx(right, abs=1e-5)
    assert np.mean(facts["val"]) == pytest.approx(right, abs=1e-5)  # folds of equal size
    assert facts["out_of_fold"][1] < right < facts["out_of_fold"][2]
    risk = json.loads(project.read("runs/cv/folds.json"))["metrics"]["aurc"]
    low, high = risk["out_of_fold"][1:]
    assert 0 < low < risk["out_of_fold"][0] < high < 1
    assert "\nLower is better: loss, aurc." in printed
    assert all(float(row["p_" + row["predicted"]]) == float(row["probability"]) for row in rows)

    experiments = project.dvc("exp", "list", "--names-only").stdout.split()
    assert sorted(experiments) == ["cv-0", "cv-1", "cv-2"]
    assert project.run("git", "status", "--porcelain").stdout == ""
    # There already: read, not run again. What a `folds` that was killed at its end left goes.
    record = project.path / ".run/folds/cv-0.json"
    record.write_text("[[1, 0.0], [1, 0.0]]", encoding="utf-8")
    again = project.classifier("folds", "-k", "3", "-S", "train.lr=0.7", "-n", "cv")
    assert again == printed
    assert not record.exists()
    assert "with train.lr = 0.7, not 0.6: give these folds another name" in project.refused(
        "folds", "-k", "3", "-S", "train.lr=0.6", "-n", "cv"
    )


def test_it_is_said_how_far_the_folds_are(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    monkeypatch.chdir(project.path)
    monkeypatch.setattr("classifier.experiments.folds.SAY_SECONDS", 0.1)
    monkeypatch.setenv("TOY_EPOCH_SECONDS", "0.5")
    rates = {"cv-0": {"train.lr": 0.31}, "cv-1": {"train.lr": 0.32}}
    run_missing(rates, 1, Path("logs"), Path())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "0 of 2 folds done; cv-0: start"
    assert any(re.fullmatch(r"0 of 2 folds done; cv-0: train, epoch \d+", one) for one in lines)
    assert any(re.fullmatch(r"1 of 2 .* cv-1: .*; about \d+ s left", one) for one in lines)
    assert lines[-1] == "2 of 2 folds done"


def test_a_failed_fold_is_named_and_the_others_are_stopped(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    experiments = {"good": {"train.lr": 0.1}, "bad": {"train.lr": 2000}, "late": {"train.lr": 0.2}}
    monkeypatch.chdir(project.path)
    monkeypatch.setenv("TOY_EPOCH_SECONDS", "100")
    with pytest.raises(UserError) as refused:
        run_missing(experiments, 2, Path("logs"), Path())
    assert str(refused.value) == (
        "experiment bad failed (the loss is not a number): see logs/bad.log."
    )
    assert "the loss is not a number" in project.read("logs/bad.log")
    project.nothing_goes_on("good")
    assert not (project.path / "logs/late.log").exists()


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_stopped_folds_go_on_where_they_were(toy: Toy, tmp_path: Path, how: signal.Signals) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    folds = ["folds", "-k", "2", "-n", "cv", "-j", "2", "-S", "train.lr=0.7"]
    process = project.start(*folds, seconds=60)
    told = [project.path / f".run/folds/cv-{fold}.jsonl" for fold in (0, 1)]
    wait_for(lambda: all(path.exists() and "epoch" in path.read_text() for path in told))
    assert "runs experiment cv-0: wait for it" in project.refused(*folds)
    process.send_signal(how)
    said = process.communicate(timeout=60)[1]
    if how == signal.SIGINT:
        assert "stopped; run the same command again" in said
        project.nothing_goes_on("cv-0")
    assert "300 images" in project.classifier(*folds)
    for fold in (0, 1):
        project.nothing_goes_on(f"cv-{fold}")


def test_an_experiment_that_dvc_does_not_start_is_started_again(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    monkeypatch.chdir(project.path)
    starts: list[list[str]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **options: Any) -> None:
            if "--temp" in command:
                starts.append(command)
                # As when the process of another experiment takes this one's place in the queue.
                command = command if len(starts) > 1 else ["true"]
            super().__init__(command, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with ExperimentRun("a", {"train.lr": 0.3}, Path("logs"), Path()) as run:
        assert [row["val_accuracy"] for row in run.epochs()] == [0.15, 0.3]
        run.check()
    assert len(starts) == 2
    with pytest.raises(UserError, match="'a' already: run dvc exp remove a"):
        ExperimentRun("a", {}, Path("logs"), Path()).__enter__()


def test_one_that_never_starts_is_said_to_have_failed(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    (project.path / "dvc.yaml").write_text("stages: 3\n", encoding="utf-8")
    monkeypatch.chdir(project.path)
    with ExperimentRun("a", {"train.lr": 0.3}, Path("logs"), Path()) as run:
        assert list(run.epochs()) == []
        with pytest.raises(UserError, match=r"^experiment a failed: see logs/a\.log\.$"):
            run.check()
    assert "dvc.yaml" in project.read("logs/a.log")


def test_mistakes_get_one_sentence(toy: Toy) -> None:
    assert "at least 2 folds" in toy.refused("folds", "-k", "1")
    assert "--jobs is 0" in toy.refused("folds", "-j", "0")
    assert "train.lrr is not a parameter" in toy.refused("folds", "-S", "train.lrr=1")
