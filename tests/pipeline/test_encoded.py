"""Images that are stored encoded, through every stage and every command that reads them."""

import csv
import json
import random
from pathlib import Path

import pytest

from tests.pipeline.test_resume import (
    MODEL,
    ONE_THREAD,
    SEED,
    TRAIN,
    digest,
    kill_in_training,
)
from tests.support import workspace
from tests.support.manifests import photo
from tests.support.workspace import Workspace

pytestmark = pytest.mark.slow

SHADES = {"dark": 0.5, "light": 1.0}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All stages on 120 photographs of two shades, with random crops."""
    folder = tmp_path_factory.mktemp("encoded")
    for number in range(120):
        name, factor = list(SHADES.items())[number % 2]
        path = folder / "photos" / name / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(number, (150, 110)).point(lambda value, f=factor: value * f).save(path, quality=95)
    result = workspace.fresh(folder / "project", with_results=False)
    result.set(download__source="folder", download__path=str(folder / "photos"))
    result.set(preprocess__image_size=32, preprocess__storage="encoded")
    result.set(preprocess__encoded_size=80, preprocess__resize="crop", augment__crop=0.4)
    result.set(train__epochs=8, train__batch_size=16, train__checkpoint_every="0.002 minutes")
    result.stages("download", "split", "preprocess")
    result.run(*TRAIN, env=ONE_THREAD)
    result.stages("evaluate", "plot")
    return result


def test_every_stage_reads_them(project: Workspace) -> None:
    prepared = project.path / "data/prepared"
    assert json.loads((prepared / "meta.json").read_text())["encoded"]["size"] == 80
    assert not (prepared / "train.npy").exists()
    assert json.loads(project.read("metrics/evaluate.json"))["test_accuracy"] > 0.8
    for made in ("metrics/report.html", "data/explain/gradcam_images.npy"):
        assert (project.path / made).exists()


def test_predict_says_of_the_original_files_what_evaluate_said(project: Workspace) -> None:
    with (project.path / "data/predictions/predictions.csv").open(encoding="utf-8") as file:
        said = {Path(row["id"]).stem: row["predicted"] for row in csv.DictReader(file)}
    photos = project.path.parent / "photos"
    found = project.run("python", "-m", "classifier", "predict", str(photos), "--out", "found.csv")
    assert found.returncode == 0
    with (project.path / "found.csv").open(encoding="utf-8") as file:
        rows = {Path(row["id"]).stem: row["predicted"] for row in csv.DictReader(file)}
    same = sum(rows[name] == label for name, label in said.items())
    assert same >= len(said) - 1


@pytest.mark.parametrize(
    "command", [("find-lr", "--steps", "40"), ("export", "--format", "torch-export")], ids=str
)
def test_every_command_reads_them(project: Workspace, command: tuple[str, ...]) -> None:
    output = project.run("python", "-m", "classifier", *command, check=False)
    assert output.returncode == 0, output.stdout + output.stderr


def test_a_run_that_is_killed_ends_in_the_same_model(project: Workspace) -> None:
    straight, moment = digest(project), random.Random(SEED)
    (project.path / MODEL).unlink()
    kill_in_training(project, moment, *TRAIN)
    assert not (project.path / MODEL).exists()
    assert "going on with epoch" in project.run(*TRAIN, env=ONE_THREAD).stdout
    assert digest(project) == straight


def test_a_damaged_part_ends_a_stage_in_one_sentence(project: Workspace, tmp_path: Path) -> None:
    damaged = workspace.copy(project, tmp_path / "damaged")
    path = damaged.path / "data/prepared/test-00000.tar"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:3000])
    output = damaged.run("python", "-m", "stages.evaluate", check=False)
    assert output.returncode == 1
    assert "test-00000.tar cannot be read (it ends before its last image): run dvc" in output.stderr
    assert "Traceback" not in output.stderr
