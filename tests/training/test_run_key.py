"""A run's name follows what decides its result, and nothing else."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from classifier.augment.augmenter import AugmentParams
from classifier.core import known_hashes
from classifier.models.networks.cnn import CnnParams
from classifier.models.networks.vgg import VggParams
from classifier.models.registry import ModelParams
from classifier.training import run_key as module
from classifier.training.distributed import Ranks
from classifier.training.params import TrainParams
from classifier.training.run_key import code_of, run_key
from tests.support.prepared_digits import prepared_digits
from tools import ROOT

TRAIN = TrainParams(lr=0.01, epochs=2, batch_size=32, optimizer="adamw", seed=0)
MODEL = ModelParams("cnn")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Prepared data, some code in a package, and weights to start from."""
    prepared_digits(tmp_path / "prepared", train=40, val=10)
    (tmp_path / "package/inner").mkdir(parents=True)
    for name in ("package/a.py", "package/inner/b.py", "alone.py", "w.pth", "same.pth"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    return tmp_path


def key(
    project: Path,
    train: TrainParams = TRAIN,
    model: ModelParams = MODEL,
    augment: AugmentParams | None = None,
) -> str:
    code = [project / "package", project / "alone.py"]
    return run_key(train, model, augment or AugmentParams(), project / "prepared", code)


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint_every": "5 minutes"},
        {"tensorboard": True},
        {"data_placement": "stream"},
        {"device": "cpu"},
    ],
)
def test_settings_of_training_that_change_no_bit(project: Path, change: dict[str, Any]) -> None:
    assert key(project, replace(TRAIN, **change)) == key(project)


@pytest.mark.parametrize(
    "change", [{"lr": 0.02}, {"epochs": 3}, {"precision": "bf16"}, {"class_weights": "balanced"}]
)
def test_settings_of_training_that_count(project: Path, change: dict[str, Any]) -> None:
    assert key(project, replace(TRAIN, **change)) != key(project)


def test_of_the_networks_the_chosen_one_counts(project: Path) -> None:
    first = key(project)
    assert key(project, model=replace(MODEL, vgg=VggParams(depth=16))) == first
    assert key(project, model=replace(MODEL, cnn=CnnParams(dense_units=8))) != first
    assert key(project, model=replace(MODEL, input_size=16)) != first
    assert key(project, augment=AugmentParams(shift=0.1)) != first


def test_weights_count_by_their_content(project: Path) -> None:
    keys = [key(project, model=replace(MODEL, pretrained=str(project / "w.pth")))]
    keys.append(key(project, model=replace(MODEL, pretrained=str(project / "same.pth"))))
    (project / "w.pth").write_text("2", encoding="utf-8")
    keys.append(key(project, model=replace(MODEL, pretrained=str(project / "w.pth"))))
    assert keys[0] == keys[1] != keys[2]
    assert key(project) not in keys


@pytest.mark.parametrize(
    "name",
    ["package/a.py", "package/inner/b.py", "alone.py", "prepared/train_labels.npy",
     "prepared/val.npy", "prepared/meta.json"],
)  # fmt: skip
def test_code_and_data_count(project: Path, name: str) -> None:
    before = key(project)
    with (project / name).open("ab") as file:
        file.write(b" ")
    assert key(project) != before


def test_data_that_have_not_changed_are_read_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_hashes, "SETTLED", -1.0)
    arguments = TRAIN, MODEL, AugmentParams(), project / "prepared", [], project / "hashes.json"
    first = run_key(*arguments)
    monkeypatch.setattr(known_hashes, "sha256", lambda path: pytest.fail(f"{path} is read"))
    assert run_key(*arguments) == first


def test_the_test_split_and_compiled_code_do_not_count(project: Path) -> None:
    before = key(project)
    (project / "prepared/test.npy").write_bytes(b"")
    (project / "package/__pycache__").mkdir()
    (project / "package/__pycache__/a.pyc").write_bytes(b"")
    assert key(project) == before


@pytest.mark.parametrize("package", ["torch", "numpy", "torchvision"])
def test_versions_of_what_computes_count(
    project: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before = key(project)
    if package == "torchvision":
        monkeypatch.setattr(module.metadata, "version", lambda name: "0")
    else:
        monkeypatch.setattr(vars(module)[{"numpy": "np"}.get(package, package)], "__version__", "0")
    assert key(project) != before


def test_the_number_of_ranks_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(project)

    class Two(Ranks):
        def __init__(self) -> None:
            super().__init__()
            self.size = 2

        def agreed(self, facts: Any) -> Any:
            return facts

    monkeypatch.setattr(module, "Ranks", Two)
    assert key(project) != before


def test_the_order_of_a_folder_does_not_count(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, scandir = [], os.scandir

    class Ordered:
        def __init__(self, place: Any, backwards: bool) -> None:
            self.entries = sorted(scandir(place), key=lambda e: e.name, reverse=backwards)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            pass

    for backwards in (False, True):
        monkeypatch.setattr(os, "scandir", lambda place, way=backwards: Ordered(place, way))
        found.append(key(project))
    assert found[0] == found[1]


def test_the_code_of_a_stage_is_what_dvc_yaml_names() -> None:
    places = code_of("train", ROOT / "dvc.yaml")
    assert ROOT / "stages/train.py" in [ROOT / place for place in places]
    assert Path("data/prepared") not in places
    assert all((ROOT / place).exists() for place in places)


def test_an_edit_within_a_package_counts_and_one_in_a_package_of_other_stages_does_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("classifier", "stages"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(project)

    def named() -> str:
        code = code_of("train", ROOT / "dvc.yaml")
        return run_key(TRAIN, MODEL, AugmentParams(), Path("prepared"), code)

    before = named()
    for name in ("report/page.py", "inference/predict.py"):
        (project / "classifier" / name).write_text("# an edit", encoding="utf-8")
    assert named() == before
    (project / "classifier/training/optimization/schedules.py").write_text("", encoding="utf-8")
    assert named() != before
