"""Prepared arrays hold what one image at a time would give, whatever the number of workers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from classifier.core.errors import UserError
from classifier.core.resize import Resize, to_array
from classifier.dataset.prepared import PreparedData
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.images.store import read_bytes
from classifier.preprocessing import prepare as module
from classifier.preprocessing.automatic import automatic_channels, automatic_size
from classifier.preprocessing.prepare import (
    PreprocessParams,
    prepare,
)
from tests.support.image_files import WAYS
from tests.support.manifests import packed, photo

AUTO = PreprocessParams("auto", "auto", "squash", "standardize", workers=1)
CLASSES = ["cat", "dog"]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    images = [(CLASSES[seed % 2], photo(seed, (30 + seed, 26))) for seed in range(30)]
    packed(tmp_path / "raw", [*images, ("", photo(99))])
    return tmp_path / "raw"


def splits(manifest: Manifest) -> np.ndarray:
    cycle = np.array(["train", "train", "val", "train", "test"])[np.arange(len(manifest)) % 5]
    cycle[7] = "excluded"
    return np.where(manifest.label == "", "unlabelled", cycle)


def run(raw: Path, params: PreprocessParams, name: str = "prepared") -> PreparedData:
    manifest = Manifest.read(raw)
    return prepare(raw, manifest, splits(manifest), CLASSES, params, raw.parent / name)


def chosen(resize: Resize) -> dict[str, Any]:
    """The parameters that ask for it."""
    kept, filtered = resize.crop_fraction, resize.interpolation
    return {"resize": resize.mode, "interpolation": filtered, "crop_fraction": kept}


@pytest.mark.parametrize("resize", WAYS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_rows_are_the_images_in_the_order_of_their_ids(
    raw: Path, resize: Resize, channels: int
) -> None:
    data = run(raw, replace(AUTO, image_size=20, **chosen(resize), channels=channels))
    manifest = Manifest.read(raw)
    division = splits(manifest)
    assert data.splits == ["train", "val", "test", "unlabelled"]
    for split in data.splits:
        rows = np.flatnonzero(division == split)
        images = data.images(split)[:]
        assert images.shape == (len(rows), 20, 20, channels)
        assert images.dtype == np.uint8
        assert data.ids(split) == manifest.id[rows].tolist()
        assert data.sizes(split).tolist() == [
            [int(manifest.width[row]), int(manifest.height[row])] for row in rows
        ]
        for image, row in zip(images, rows, strict=True):
            place = manifest.shard[row], int(manifest.offset[row]), int(manifest.size[row])
            original = decode(read_bytes(raw, *place))
            assert (image == to_array(original, 20, channels, resize)).all()
        if split != "unlabelled":
            assert [CLASSES[label] for label in data.labels(split)] == manifest.label[rows].tolist()
            assert data.labels(split).dtype == np.int64


def test_mean_and_deviation_are_those_of_train_alone(raw: Path) -> None:
    data = run(raw, AUTO)
    train = data.images("train")[:].astype(np.float64) / 255
    np.testing.assert_allclose(data.meta["mean"], train.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(data.meta["std"], train.std(axis=(0, 1, 2)), rtol=1e-5)
    unit = run(raw, replace(AUTO, normalize="unit"), "unit")
    assert (unit.meta["mean"], unit.meta["std"]) == ([0, 0, 0], [1, 1, 1])
    assert np.array_equal(unit.images("train"), data.images("train"))


def test_the_bytes_do_not_depend_on_workers_or_chunks(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run(raw, AUTO, "one")
    monkeypatch.setattr(module, "CHUNK_BYTES", 3 * 32 * 32 * 3)
    monkeypatch.setattr(module, "FEW_BYTES", 0)
    many = run(raw, replace(AUTO, workers=3), "many")
    files = sorted(path.name for path in one.folder.iterdir())
    assert files == sorted(path.name for path in many.folder.iterdir())
    for name in files:
        assert (one.folder / name).read_bytes() == (many.folder / name).read_bytes(), name


def test_a_large_split_is_in_parts_of_the_same_bytes_whoever_writes_them(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster each task is a whole file; on one machine processes share the files."""
    whole = run(raw, AUTO, "whole")
    monkeypatch.setattr(module, "PART_BYTES", 5 * 32 * 32 * 3)
    monkeypatch.setattr(module, "CHUNK_BYTES", 2 * 32 * 32 * 3)
    monkeypatch.setattr(module, "FEW_BYTES", 0)
    shared = run(raw, replace(AUTO, workers=3), "shared")
    monkeypatch.setattr(module, "on_ray", lambda: True)
    tasks = []
    monkeypatch.setattr(
        module,
        "ordered_map",
        lambda work, pieces, _: tasks.extend(pieces) or map(work, reversed(tasks)),
    )
    alone = run(raw, AUTO, "alone")
    assert len({task.path for task in tasks}) == len(tasks), "one writer a file"
    names = sorted(path.name for path in shared.folder.iterdir())
    assert {"train-00000.npy", "train-00001.npy"} <= set(names)
    assert "train.npy" not in names
    assert names == sorted(path.name for path in alone.folder.iterdir())
    for name in names:
        assert (shared.folder / name).read_bytes() == (alone.folder / name).read_bytes(), name
    for split in whole.splits:
        assert np.array_equal(shared.images(split), whole.images(split))
    assert shared.meta == whole.meta


def test_a_part_that_is_missing_is_noticed(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 5 * 32 * 32 * 3)
    data = run(raw, AUTO)
    (data.folder / "train-00001.npy").unlink()
    with pytest.raises(UserError, match=r"has \d+ of \d+ images of train: run dvc repro"):
        data.images("train")


def test_channels_that_never_vary_are_not_divided_by_zero(tmp_path: Path) -> None:
    packed(tmp_path / "raw", [("cat", Image.new("L", (8, 8), 51))] * 3)
    manifest = Manifest.read(tmp_path / "raw")
    division = np.array(["train", "val", "test"])
    data = prepare(tmp_path / "raw", manifest, division, CLASSES, AUTO, tmp_path / "out")
    assert data.meta["channels"] == 1
    assert (data.meta["mean"], data.meta["std"]) == ([0.2], [1.0])


def test_a_image_that_fails_is_named(raw: Path) -> None:
    manifest = Manifest.read(raw)
    with (raw / manifest.shard[12]).open("r+b") as file:
        file.seek(int(manifest.offset[12]))
        file.write(b"broken")
    with pytest.raises(UserError, match=f"image '{manifest.id[12]}'"):
        run(raw, AUTO)


def test_a_missing_shard_is_named(raw: Path) -> None:
    shard = str(Manifest.read(raw).shard[0])
    (raw / shard).unlink()
    with pytest.raises(UserError, match=shard):
        run(raw, AUTO)


def test_data_that_is_not_there_says_which_stage_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro preprocess"):
        PreparedData.open(tmp_path)


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(8, 8)] * 3, 8),
        ([(28, 32)] * 3, 32),
        ([(640, 480)] * 3, 224),
        ([(30, 40), (50, 33), (90, 35)], 48),
        ([(500, 375), (375, 500), (400, 400)], 224),
    ],
)
def test_the_automatic_size(sizes: list[tuple[int, int]], side: int) -> None:
    width, height = np.array(sizes).T
    assert automatic_size(width, height) == side


@pytest.mark.parametrize(
    ("modes", "channels"),
    [
        (["L", "L"], 1),
        (["L", "I;16", "1", "LA", "F"], 1),
        (["L", "RGB"], 3),
        (["P"], 3),
        (["LAB"], 3),
    ],
)
def test_the_automatic_channels(modes: list[str], channels: int) -> None:
    assert automatic_channels(pd.Categorical(modes)) == channels
