"""Parquet files of images come with their classes and splits, from this machine or from the Hub."""

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from classifier.core.errors import UserError
from classifier.images import store
from classifier.images.manifest import Manifest
from classifier.sources.ingest import Summary
from tests.sources.test_archive import pack
from tests.sources.test_download import classes, folder_of, image, rejected, take
from tests.support import hub, workspace

pyarrow = pytest.importorskip("pyarrow")

NAMES = ("cat", "dog", "owl")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    folder.mkdir()
    return folder


def encoded(folder: Path, seed: int) -> bytes:
    return image(folder / f"{seed}.png", seed).read_bytes()


def features(names: Sequence[str] = NAMES, **columns: str) -> dict[str, Any]:
    """What the datasets library notes of the columns image and label, or of others."""
    columns = columns or {"image": "Image", "label": "ClassLabel"}
    return {
        name: {"_type": kind} | ({"names": list(names)} if kind == "ClassLabel" else {})
        for name, kind in columns.items()
    }


def write(path: Path, columns: dict[str, list[Any]], about: dict[str, Any] | None = None) -> Path:
    """A Parquet file of these columns, with the metadata of the datasets library."""
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if about:
        text = json.dumps({"info": {"features": about}})
        table = table.replace_schema_metadata({"huggingface": text})
    parquet.write_table(table, path, row_group_size=2)
    return path


def rows(folder: Path, labels: Sequence[Any], seed: int = 0) -> dict[str, list[Any]]:
    """Images as records of bytes and path, and these labels."""
    data = [encoded(folder, seed + number) for number in range(len(labels))]
    return {"image": [{"bytes": one, "path": "x.png"} for one in data], "label": list(labels)}


def taken(path: Path, out: Path, **settings: object) -> Summary:
    return take(path, out, source="parquet", **settings)


def labels_of(out: Path) -> list[tuple[str, str]]:
    manifest = Manifest.read(out)
    return list(zip(manifest.id.tolist(), manifest.label.tolist(), strict=True))


def test_splits_and_class_names_come_from_the_files(root: Path, tmp_path: Path, out: Path) -> None:
    write(root / "data/train-00000-of-00002.parquet", rows(tmp_path, [2, 0, 0]), features())
    write(root / "data/train-00001-of-00002.parquet", rows(tmp_path, [2, 1], 3), features())
    write(root / "data/validation-00000-of-00001-ab1.parquet", rows(tmp_path, [1], 5), features())
    write(root / "data/test-00000-of-00001.parquet", rows(tmp_path, [-1, None], 6), features())
    (root / "README.md").write_text("x")
    assert taken(root, out) == Summary(8, 3, 2, 0, [])
    assert classes(out) == list(NAMES)
    manifest = Manifest.read(out)
    assert labels_of(out) == [
        ("test/000000", ""), ("test/000001", ""),
        ("train/000000", "owl"), ("train/000001", "cat"), ("train/000002", "cat"),
        ("train/000003", "owl"), ("train/000004", "dog"),
        ("val/000000", "dog"),
    ]  # fmt: skip
    assert manifest.origin.tolist() == ["test"] * 2 + ["train"] * 5 + ["val"]
    place = (manifest.shard[6], int(manifest.offset[6]), int(manifest.size[6]))
    assert store.read_bytes(out, *place) == encoded(tmp_path, 4)


@pytest.mark.parametrize(
    ("paths", "origins"),
    [
        (["default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"],
         ["test", "train", "train"]),
        (["part-00000-1f2e-c000.snappy.parquet", "part-00001-1f2e-c000.snappy.parquet"], [""] * 2),
        (["train.parquet", "valid.parquet"], ["train", "val"]),
        (["pets-train.parquet", "pets-eval.parquet"], ["test", "train"]),
        (["0000.parquet", "0001.parquet"], [""] * 2),
        (["pets.parquet"], [""]),
    ],
)  # fmt: skip
def test_names_of_files_tell_the_split(
    root: Path, tmp_path: Path, out: Path, paths: list[str], origins: list[str]
) -> None:
    for number, path in enumerate(paths):
        write(root / path, rows(tmp_path, [0, 1], 2 * number), features())
    taken(root, out)
    assert Manifest.read(out).origin.tolist() == [origin for origin in origins for _ in range(2)]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a/train/0000.parquet", "b/train/0000.parquet"], r"several sets \(a/train, b/train mean"),
        (["train.parquet", "train_small.parquet"], r"several sets \(train, train_small mean train"),
        (["cats.parquet", "dogs.parquet"], r"several sets \(cats, dogs name no split\): name the"),
        (["train.parquet", "more.parquet"], r"more says neither train, val nor test as others do"),
        ([], r"holds no Parquet files: check the address; most data sets of the Hub"),
    ],
)
def test_several_sets_are_not_mixed(
    root: Path, tmp_path: Path, out: Path, paths: list[str], message: str
) -> None:
    for path in paths:
        write(root / path, rows(tmp_path, [0, 1]), features())
    with pytest.raises(UserError, match=message):
        taken(root, out)


def test_columns_are_found_by_their_kind(
    root: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = rows(tmp_path, [0, 1])
    columns = {"id": [7, 8], "img": made["image"], "fine": made["label"], "who": ["ann", None]}
    path = write(root / "a.parquet", columns, features(id="Value", img="Image", fine="ClassLabel"))
    taken(path, out, group_column="who")
    assert Manifest.read(out).group.tolist() == ["ann", ""]
    said = capsys.readouterr().err
    assert "took the column 'img' for download.image_column" in said
    assert "took the column 'fine' for download.label_column" in said
    write(path, columns)  # nobody says what they are
    with pytest.raises(UserError, match=r"no column 'image' \(download.image_column\), but id, im"):
        taken(path, out)
    taken(path, tmp_path / "named", image_column="img", label_column="fine")
    assert classes(tmp_path / "named") == ["0", "1"]
    with pytest.raises(UserError, match=r"no column 'x' \(download.group_column\)"):
        taken(path, out, image_column="img", label_column="fine", group_column="x")


def test_texts_and_numbers_are_classes_too(root: Path, tmp_path: Path, out: Path) -> None:
    made = rows(tmp_path, ["dog", "cat"])
    made["image"] = [record["bytes"] for record in made["image"]]
    taken(write(root / "a.parquet", made), out)
    assert classes(out) == ["cat", "dog"]
    taken(write(root / "a.parquet", rows(tmp_path, [10, 2])), tmp_path / "numbers")
    assert classes(tmp_path / "numbers") == ["2", "10"]


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ([0, -1], [0], r"train.parquet: row 1 has no label, which training needs"),
        ([0, 7], [0], r"train.parquet: row 1 has the class 7 of 3"),
        ([0, 0], [0], r"training images of 1 class: it needs two or more"),
        ([0, 1], [2], r"val.parquet has the classes 'owl', which training lacks"),
        ([0.5, 1.5], [0.5], r"row 0 has the label 0.5, which is no class: set download.label_col"),
        ([[0, 1], [2]], [[0]], r"row 0 has the label \[0, 1\], which is no class"),
    ],
)
def test_labels_that_are_none_are_told(
    root: Path, tmp_path: Path, out: Path, train: list[Any], val: list[Any], message: str
) -> None:
    write(root / "train.parquet", rows(tmp_path, train), features())
    write(root / "val.parquet", rows(tmp_path, val, 9), features())
    with pytest.raises(UserError, match=message):
        taken(root, out)


def test_broken_images_and_files_are_told(root: Path, tmp_path: Path, out: Path) -> None:
    made = rows(tmp_path, [0, 1, 1, 0])
    made["image"][1] = {"bytes": b"broken", "path": "b.jpg"}
    made["image"][2] = {"bytes": None, "path": "elsewhere.jpg"}
    path = write(root / "a.parquet", made | {"label": [0, 1, 1, 1]}, features())
    taken(path, out, max_rejected=1.0)
    assert list(rejected(out)) == ["row/000001.jpg", "row/000002.jpg"]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a.parquet cannot be read as Parquet \(.*\): replace it"):
        taken(path, out)
    write(root / "b.parquet", {"image": [b"x"], "other": [0]})
    write(root / "a.parquet", rows(tmp_path, [0, 1]))
    for name in ("a", "b"):
        (root / f"{name}.parquet").rename(root / f"{'train' if name == 'a' else 'val'}.parquet")
    with pytest.raises(UserError, match=r"val.parquet has no column label"):
        taken(root, out)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's own cache, in a place for this test."""
    pytest.importorskip("huggingface_hub")
    folder = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return folder


@pytest.fixture
def server(
    root: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[hub.Hub]:
    """A Hub with the data set team/pets."""
    write(root / "data/train-00000-of-00001.parquet", rows(tmp_path, [2, 0, 1]), features())
    write(root / "data/test-00000-of-00001.parquet", rows(tmp_path, [1, 1], 3), features())
    (root / "README.md").write_text("x")
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
    with hub.serving(files) as made:
        # The library takes HF_ENDPOINT from the environment once, when it is imported.
        constants = "huggingface_hub.constants"
        monkeypatch.setattr(f"{constants}.ENDPOINT", made.url)
        template = made.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield made


def test_a_data_set_of_the_hub(
    server: hub.Hub, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "hf://datasets/team/pets"
    taken(tmp_path, out, url=url)
    assert classes(out) == list(NAMES)
    assert labels_of(out)[0] == ("test/000000", "dog")
    pinned = f"hf://datasets/team/pets@{server.commit}"
    assert f"{url} may change; to pin it, set download.url: {pinned}\n" in capsys.readouterr().err
    server.reads.clear()
    taken(tmp_path, tmp_path / "pinned", url=pinned)
    assert server.reads == []  # kept
    assert "may change" not in capsys.readouterr().err
    server.files["data/test-00000-of-00001.parquet"] += b" "  # damaged, and a new commit
    with pytest.raises(UserError, match=r"data/test-.* cannot be read as Parquet"):
        taken(tmp_path, tmp_path / "changed", url=url)
    assert server.reads == ["data/test-00000-of-00001.parquet"]  # no other has changed
    taken(tmp_path, tmp_path / "old", url=pinned)


def test_other_layouts_on_the_hub(server: hub.Hub, tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    packed = pack(tmp_path / "pets.zip", root).read_bytes()
    server.files = {"images/cat/1.png": packed, "images/dog/1.png": packed, "all/pets.zip": packed}
    take(tmp_path, out, source="archive", url="hf://datasets/team/pets/all/pets.zip")
    assert classes(out) == ["cat", "dog"]
    assert server.reads == ["all/pets.zip"]
    with pytest.raises(UserError, match=r"none of its 1 files can be used .*images/cat/1.png"):
        take(tmp_path, out, url="hf://datasets/team/pets/images", max_rejected=1.0)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("hf://datasets/team/none", r"is no data set, or a private or gated one: .*hf auth login"),
        ("hf://datasets/team/pets@none", r"has no branch, tag or commit of that name"),
        ("hf://datasets/team/pets/none", r"there is nothing at hf://.*: check the path"),
        ("hf://datasets/pets", r"is no address of a data set: write hf://datasets/OWNER/NAME"),
        ("hf://team/pets", r"is no address of a data set"),
    ],
)
def test_what_the_hub_does_not_have_is_told(
    server: hub.Hub, tmp_path: Path, out: Path, url: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        taken(tmp_path, out, url=url)


def test_a_private_data_set_needs_a_token(
    server: hub.Hub, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "hf_secret"
    with pytest.raises(UserError, match=r"private or gated one: .*hf auth login or set HF_TOKEN"):
        taken(tmp_path, out, url="hf://datasets/team/pets")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert taken(tmp_path, out, url="hf://datasets/team/pets").images == 5


def test_missing_packages_are_told(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pyarrow is not installed: .*make setup EXTRAS=hf"):
        taken(root, out)
    with pytest.raises(UserError, match=r"huggingface_hub is not .* run make setup EXTRAS=hf"):
        taken(root, out, url="hf://datasets/team/pets")


def test_the_stage_asks_the_hub_that_the_environment_names(server: hub.Hub, tmp_path: Path) -> None:
    project = workspace.fresh(tmp_path / "project", with_results=False)
    project.set(download__source="parquet", download__url="hf://datasets/team/pets")
    env = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    done = project.run("python", "-m", "stages.download", env=env)
    assert "5 images, 3 classes" in done.stdout
    server.shutdown()
    server.server_close()
    gone = env | {"HF_HOME": str(tmp_path / "other"), "HF_HUB_ETAG_TIMEOUT": "1"}
    failed = project.run("python", "-m", "stages.download", env=gone, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: download.url: hf://datasets/team/pets cannot be had (")
    assert os.linesep not in failed.stderr.rstrip()
