"""The page of the ladder, and its steps on the real pipeline."""

import contextlib
from pathlib import Path

import pytest

from benchmarks import ladder
from classifier.core.files import read_json
from tests.experiments.test_recipes import LADDER
from tests.support import workspace
from tests.support.workspace import Workspace
from tools import ROOT


def test_the_page_of_the_ladder_is_written_from_its_results(tmp_path: Path) -> None:
    page = tmp_path / "ladder.md"
    page.write_text((ROOT / "docs" / "ladder.md").read_text(encoding="utf-8"), encoding="utf-8")
    step = {
        "accuracy": {split: [0.5, 0.4, 0.6] for split in ("train", "val", "test")},
        "test_loss": 1.25,
        "best_epoch": 2,
        "history": {"train_accuracy": [0.1, 0.5], "val_accuracy": [0.2, 0.5]},
    }
    results = {
        "machine": {"cores": 2, "processor": "a processor"},
        "epochs": 2,
        "images": {"train": 5000, "val": 5000, "test": 10000},
        "source": "cifar10",
        "steps": dict.fromkeys(LADDER, step),
    }
    ladder.write_page(results, page, tmp_path / "ladder.png")
    once = page.read_text(encoding="utf-8")
    assert once.count("| 0.5000 | 0.5000 | 0.5000 (0.4000 to 0.6000) | 1.2500 | 2 |") == 4
    assert (tmp_path / "ladder.png").stat().st_size > 5000
    ladder.write_page(results, page, tmp_path / "ladder.png")
    assert page.read_text(encoding="utf-8") == once


@pytest.mark.slow
def test_the_ladder_runs_on_the_real_pipeline(finished: Workspace, tmp_path: Path) -> None:
    project = workspace.copy(finished, tmp_path / "project")
    with contextlib.chdir(project.path):
        ladder.run({"download.source": "digits", "train.epochs": 1})
        results = read_json(ladder.RESULTS)
    assert list(results["steps"]) == LADDER
    parameters = [step["parameters"] for step in results["steps"].values()]
    assert parameters[1] == parameters[2] == parameters[3] > parameters[0]
    ladder.write_page(results, project.path / "docs/ladder.md", project.path / "docs/ladder.png")
    assert project.read("docs/ladder.md").count("| `ladder-") >= 8
