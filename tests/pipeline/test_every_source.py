"""Each kind of source ends in metrics: real files in the real format, through the real stages."""

import csv
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.sources.published import named
from tests.support import archives, imagenet, workspace
from tests.support.workspace import Workspace

# One after the other in this process: that DVC runs them the same way is what
# tests/pipeline/test_pipeline.py checks.
TO_METRICS = ("download", "split", "preprocess", "train", "evaluate")
ALL_STAGES = (*TO_METRICS, "plot")  # where the report has something of its own to show


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    project = workspace.fresh(tmp_path / "project", with_results=False)
    project.set(train__epochs=2, train__batch_size=16, preprocess__image_size=16)
    project.set(evaluate__bootstrap_samples=20, evaluate__embedding_images=50)
    return project


def write_images(folder: Path, classes: int, per_class: int, seed: int = 0) -> Iterator[Path]:
    """PNG files of images that tell their class, in a folder a class."""
    images, labels = archives.random_images(classes, per_class, 20, 3, seed)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / f"kind_{label}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        yield path


def metrics(place: Workspace) -> dict[str, float]:
    found: dict[str, float] = json.loads(place.read("metrics/evaluate.json"))
    assert 0 <= found["test_accuracy"] <= 1
    return found


def predictions(place: Workspace, name: str = "predictions.csv") -> list[dict[str, str]]:
    with (place.path / "data" / "predictions" / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_class_folders_whose_changes_dvc_notices(place: Workspace, tmp_path: Path) -> None:
    list(write_images(tmp_path / "images", 3, 30))
    place.set(download__source="folder", download__path=str(tmp_path / "images"))
    place.set(train__epochs=6)
    place.dvc("repro", "download")
    place.stages(*ALL_STAGES[1:])
    # Blocks under noise: a network that learns at all tells three of them apart.
    assert metrics(place)["test_accuracy"] > 0.8
    assert (place.path / "metrics/report.html").exists()
    assert {row["actual"] for row in predictions(place)} == {"kind_0", "kind_1", "kind_2"}

    extra = tmp_path / "images" / "kind_0" / "extra.png"
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(extra)
    assert set(json.loads(place.dvc("status", "--json", "download").stdout)) == {"download"}
    extra.unlink()
    assert json.loads(place.dvc("status", "--json", "download").stdout) == {}


def test_train_val_and_test_folders_are_kept(place: Workspace, tmp_path: Path) -> None:
    for number, (split, count) in enumerate({"train": 20, "val": 5, "test": 7}.items()):
        list(write_images(tmp_path / "images" / split, 2, count, seed=number))
    place.set(download__source="folder", download__path=str(tmp_path / "images"))
    place.stages(*TO_METRICS)
    metrics(place)
    rows = predictions(place)
    assert len(rows) == 14
    assert all(row["id"].startswith("test/") for row in rows)


def test_a_table_with_images(place: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "tables"
    paths = write_images(root / "images", 2, 30)
    rows = [f"images/{path.parent.name}/{path.name},{path.parent.name}" for path in paths]
    (root / "labels.csv").write_text("\n".join(["file,kind", *rows]), encoding="utf-8")
    place.set(
        download__source="csv",
        download__path=str(root),
        download__table="labels.csv",
        download__image_column="file",
        download__label_column="kind",
    )
    place.stages(*TO_METRICS)
    metrics(place)


def test_tables_whose_test_images_have_no_labels(place: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "competition"
    train, test = ["id,label"], ["id"]
    for folder, table, seed in (("train", train, 0), ("test", test, 1)):
        (root / folder).mkdir(parents=True)
        paths = list(write_images(tmp_path / "made" / folder, 2, 30, seed))
        for number, path in enumerate(paths, 1):
            path.rename(root / folder / f"{number}.png")
            label = f",{path.parent.name}" if folder == "train" else ""
            table.append(f"{number}{label}")
    (root / "train.csv").write_text("\n".join(train), encoding="utf-8")
    (root / "test.csv").write_text("\n".join(test), encoding="utf-8")
    place.set(
        download__source="csv",
        download__path=str(root),
        download__table="train.csv",
        download__test_table="test.csv",
        download__image_column="id",
        download__label_column="label",
        download__image_folder="train",
        download__test_image_folder="test",
    )
    place.stages(*ALL_STAGES)
    metrics(place)
    assert (place.path / "metrics/report.html").exists()
    table = predictions(place, "unlabelled.csv")
    assert len(table) == 60
    assert "actual" not in table[0]
    assert {row["predicted"] for row in table} <= {"kind_0", "kind_1"}


def test_a_zip_of_class_folders(place: Workspace, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as packed:
        for path in write_images(tmp_path / "made", 2, 30):
            packed.write(path, f"top/{path.parent.name}/{path.name}")
    place.set(download__source="archive", download__path=str(tmp_path / "images.zip"))
    place.stages(*TO_METRICS)
    metrics(place)


def test_imagenet_from_its_tar_files(place: Workspace, tmp_path: Path) -> None:
    imagenet.write_tars(tmp_path / "imagenet", per_class=8)
    place.set(download__source="imagenet", download__path=str(tmp_path / "imagenet"))
    place.set(split__val_fraction=0.25)
    place.stages(*TO_METRICS)
    metrics(place)
    rows = predictions(place)
    assert len(rows) == 8 * len(imagenet.SYNSETS)  # the official validation set
    assert all(row["id"].startswith("val/ILSVRC2012_val_") for row in rows)
    assert {row["actual"] for row in rows} == set(imagenet.NAMES)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist"])
def test_published_sets_from_a_server(
    place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    if name == "cifar10":
        archives.make_cifar10(folder)
    elif name == "cifar100":
        archives.make_cifar100(folder, 3)
    else:
        archives.make_idx(folder)
    monkeypatch.setattr(named, "SETS", dict(named.SETS))
    archives.pin(name, folder)
    with archives.serve(folder) as url:
        place.set(download__source=name, download__mirror=url, train__epochs=1)
        place.stages(*TO_METRICS)
    metrics(place)
    classes = json.loads(place.read("data/raw/classes.json"))
    assert len(classes) == (100 if name == "cifar100" else 10)
