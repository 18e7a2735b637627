"""Cross-validation through DVC's queue."""

import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pytest

from classifier.errors import UserError
from classifier.folds import pooled, run_queued, spread
from tests import toy_project
from tests.test_compare import made_up
from tests.toy_project import Toy


def test_spread_is_the_sample_deviation() -> None:
    assert spread([1.0, 2.0, 3.0]) == (2.0, 1.0)


def test_a_picture_in_two_folds_is_refused() -> None:
    with pytest.raises(UserError, match="in two of the folds"):
        pooled([made_up("a", 0.5, 1), made_up("b", 0.5, 2)])


def test_folds_run_once_and_are_pooled(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    printed = project.classifier("folds", "-k", "3", "-S", "train.lr=0.7", "-n", "cv", "-j", "2")
    assert printed.startswith("3 folds")
    assert "450 pictures: runs/cv/out_of_fold.csv" in printed
    with (project.path / "runs/cv/out_of_fold.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["id"] for row in rows}) == 450
    right = np.mean([row["actual"] == row["predicted"] for row in rows])
    facts = json.loads(project.read("runs/cv/folds.json"))["metrics"]["accuracy"]
    assert facts["out_of_fold"][0] == pytest.approx(right, abs=1e-5)
    assert np.mean(facts["val"]) == pytest.approx(right, abs=1e-5)  # folds of equal size
    assert facts["out_of_fold"][1] < right < facts["out_of_fold"][2]
    assert all(float(row["p_" + row["predicted"]]) == float(row["probability"]) for row in rows)

    experiments = project.dvc("exp", "list", "--names-only").stdout.split()
    assert sorted(experiments) == ["cv-0", "cv-1", "cv-2"]
    assert project.run("git", "status", "--porcelain").stdout == ""
    # There already: read, not run again.
    again = project.classifier("folds", "-k", "3", "-S", "train.lr=0.7", "-n", "cv")
    assert again == printed
    assert "with train.lr = 0.7, not 0.6: give these folds another name" in project.refused(
        "folds", "-k", "3", "-S", "train.lr=0.6", "-n", "cv"
    )


@pytest.mark.slow
def test_a_failed_fold_is_named(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    with (
        contextlib.chdir(project.path),
        pytest.raises(UserError, match="failed: see dvc queue logs"),
    ):
        run_queued({"a": {"train.lr": 2000}}, 1, Path())
    said = project.refused("compare", "main", "a")
    assert said == "experiment 'a' is not yet run (failed): see dvc queue logs a."


def test_mistakes_get_one_sentence(toy: Toy) -> None:
    assert "at least 2 folds" in toy.refused("folds", "-k", "1")
    assert "--jobs is 0" in toy.refused("folds", "-j", "0")
    assert "train.lrr is not a parameter" in toy.refused("folds", "-S", "train.lrr=1")
