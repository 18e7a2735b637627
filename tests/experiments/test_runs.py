"""`runs`: experiments in lines of a terminal's width, with honest verdicts."""

import csv
import io
import shutil
from pathlib import Path

import pytest

from classifier.experiments.runs import runs
from tests.support import toy_project
from tests.support.toy_project import Toy


@pytest.fixture(scope="module")
def project(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Experiments that are better, about the same, and on other test images."""
    project = toy_project.copy(toy, tmp_path_factory.mktemp("runs") / "project")
    for name, change in (
        ("good", "train.lr=0.9"),
        ("seed", "train.seed=7"),
        ("other-data-with-quite-a-long-name-for-an-experiment", "split.seed=5"),
        ("bad", "train.lr=0.1"),
    ):
        project.experiment(name, change)
        project.run("git", "checkout", "--quiet", "--force", "main")
    project.dvc("checkout", "--quiet")
    return project


def test_each_experiment_is_a_line_with_what_it_changed_and_its_verdict(project: Toy) -> None:
    found = {run.name: run for run in runs("main", 0.95, project.path)}
    assert [*found] == [
        "main", "bad", "other-data-with-quite-a-long-name-for-an-experiment", "seed", "good"
    ], "the newest first"  # fmt: skip
    told = {name.split("-")[0]: run.verdict for name, run in found.items()}
    assert told == {
        "main": "baseline",
        "bad": "worse",
        "other": "other images",
        "seed": "no evidence",
        "good": "better",
    }
    assert found["good"].params == {"train.lr": 0.9}
    assert found["good"].p is not None
    assert found["good"].p < 0.05


def test_verdicts_are_corrected_for_their_number(project: Toy) -> None:
    together = {run.name: run.p for run in runs("main", 0.95, project.path)}
    alone = project.classifier("compare", "main", "seed", "--json")
    [p] = [line for line in alone.splitlines() if '"mcnemar_p"' in line]
    assert together["seed"] == pytest.approx(float(p.split(":")[1].strip(" ,")), abs=1e-9)
    assert all(p is None or p <= 1 for p in together.values())


def test_the_table_fits_a_terminal(project: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = project.classifier("runs").splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith("HEAD ")
    assert "train.lr=0.9" in next(line for line in lines if line.startswith("good"))
    assert any("Holm" in line for line in lines)
    monkeypatch.setenv("COLUMNS", "160")
    wide = project.classifier("runs")
    assert "other-data-with-quite-a-long-name-for-an-experiment" in wide


def test_they_are_sorted_by_a_metric_or_a_parameter(project: Toy) -> None:
    def order(*options: str) -> list[str]:
        lines = project.classifier("runs", *options).splitlines()[2:6]
        return [line.split()[0][:5] for line in lines]

    assert order("--sort", "test_accuracy")[0] == "good"
    assert order("--sort", "test_accuracy")[-1] == "bad"
    assert order("--sort", "train.lr")[:2] == ["bad", "good"]
    assert "did you mean 'test_accuracy'" in project.refused("runs", "--sort", "test_acuracy")


def test_csv_has_every_metric_and_change(project: Toy) -> None:
    table = list(csv.DictReader(io.StringIO(project.classifier("runs", "--csv"))))
    rows = {row["name"]: row for row in table}
    assert rows["good"]["train.lr"] == "0.9"
    assert rows["seed"]["train.lr"] == ""
    assert 0 < float(rows["bad"]["test_accuracy"]) < float(rows["good"]["test_accuracy"]) <= 1
    assert rows["HEAD"]["verdict"] == "baseline"


def test_an_experiment_can_be_the_baseline(project: Toy) -> None:
    base, *others = runs("good", 0.95, project.path)
    assert (base.name, base.verdict, base.params) == ("good", "baseline", {})
    found = {run.name: run for run in others}
    assert found["bad"].verdict == "worse"
    assert found["seed"].params == {"train.lr": 0.5, "train.seed": 7}
    assert "good" not in found


def test_a_workspace_that_is_something_else_has_a_line(project: Toy, tmp_path: Path) -> None:
    clone = toy_project.copy(project, tmp_path / "clone")
    clone.set(train__lr=0.7)
    clone.dvc("repro", "--quiet")
    _, workspace, *_ = runs("main", 0.95, clone.path)
    assert (workspace.name, workspace.params) == ("workspace", {"train.lr": 0.7})
    assert workspace.made is None


def test_without_the_predictions_figures_stay_and_verdicts_say_why(
    project: Toy, tmp_path: Path
) -> None:
    clone = toy_project.copy(project, tmp_path / "clone")
    shutil.rmtree(clone.path / ".dvc/cache")
    shutil.rmtree(clone.path / "data/predictions")
    _, *others = runs("main", 0.95, clone.path)
    assert {run.verdict for run in others if run.made} == {"main is not cached"}
    assert all(run.metrics for run in others)
