"""ImageNet is taken from its tar files where they lie, or from folders made from them."""

import hashlib
import json
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.images import store
from classifier.images.manifest import Manifest
from classifier.sources.ingest import Summary
from classifier.sources.published.imagenet import class_names
from tests.sources.test_download import classes, take
from tests.support import imagenet, object_stores
from tests.support.imagenet import NAMES, SYNSETS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "imagenet"


def taken(root: Path, out: Path, **settings: object) -> Summary:
    return take(root, out, source="imagenet", **settings)


def facts(out: Path) -> list[tuple[str, str, str]]:
    manifest = Manifest.read(out)
    columns = (manifest.id.tolist(), manifest.label.tolist(), manifest.origin.tolist())
    return list(zip(*columns, strict=True))


def digest(out: Path) -> str:
    """Of all that the stage writes."""
    parts = [path.name.encode() + path.read_bytes() for path in sorted(out.iterdir())]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_the_three_official_files(root: Path, out: Path) -> None:
    imagenet.write_tars(root)
    assert taken(root, out) == Summary(30, 5, 0, 0, [])
    assert classes(out) == list(NAMES)
    rows = facts(out)
    assert len(rows) == 30
    files, truth = imagenet.validation(3)
    named = dict(zip(sorted(synset for synset, _, _ in SYNSETS), NAMES, strict=True))
    expected = [
        (f"train/{synset}/{name}", named[synset], "train")
        for synset, inner in sorted(imagenet.training(3).items())
        for name in sorted(inner)
    ]
    expected += [
        (f"val/{name}", named[synset], "test") for name, synset in zip(files, truth, strict=True)
    ]
    assert rows == expected
    manifest = Manifest.read(out)
    first, last = imagenet.training(3)["n01440764"]["n01440764_1.JPEG"], [*files.values()][-1]
    for row, data in ((0, first), (29, last)):
        place = (manifest.shard[row], int(manifest.offset[row]), int(manifest.size[row]))
        assert store.read_bytes(out, *place) == data
    source = json.loads((out / "source.json").read_text(encoding="utf-8"))
    assert source["origins"] == {"test": 15, "train": 15}
    assert not list((out.parent / "cache").rglob("*"))  # nothing was unpacked


def test_folders_made_from_them_give_the_same(root: Path, out: Path, tmp_path: Path) -> None:
    imagenet.write_tars(root)
    taken(root, out)
    files, truth = imagenet.validation(3)
    train = imagenet.training(3)
    kit = imagenet.kit(truth)

    folders = tmp_path / "folders"
    for synset, inner in train.items():
        imagenet.write(folders / "train" / synset, inner)
    imagenet.write(folders / "val", files)
    imagenet.write(folders / "ILSVRC2012_devkit_t12/data", kit)
    taken(folders, tmp_path / "first")
    assert digest(tmp_path / "first") == digest(out)

    inner_tars = tmp_path / "inner"
    tars = {f"train/{synset}.tar": imagenet.tar(inner) for synset, inner in train.items()}
    imagenet.write(inner_tars, tars | {f"val/{name}": data for name, data in files.items()} | kit)
    taken(inner_tars, tmp_path / "second")
    assert digest(tmp_path / "second") == digest(out)

    sorted_out = tmp_path / "sorted"  # as the usual script sorts the validation set
    imagenet.write(sorted_out, tars | kit)
    for (name, data), synset in zip(files.items(), truth, strict=True):
        imagenet.write(sorted_out / "val" / synset, {name: data})
    taken(sorted_out, tmp_path / "third")
    bare = [
        {(name.rpartition("/")[2], *rest) for name, *rest in facts(tmp_path / where)}
        for where in ("third", out.name)
    ]
    assert bare[0] == bare[1]

    kaggle = tmp_path / "kaggle"
    data = kaggle / "ILSVRC/Data/CLS-LOC"
    for synset, inner in train.items():
        imagenet.write(data / "train" / synset, inner)
    imagenet.write(data / "val", files)
    imagenet.write(data / "test", {"ILSVRC2012_test_00000001.JPEG": b"without a label"})
    mapping = "".join(f"{synset} {words}\n" for synset, words, _ in SYNSETS)
    rows = [f"{name[:-5]},{synset} 1 2 3 4 " for name, synset in zip(files, truth, strict=True)]
    solution = "\n".join(["ImageId,PredictionString", *reversed(rows)])
    imagenet.write(kaggle, {"LOC_synset_mapping.txt": mapping.encode()})
    imagenet.write(kaggle, {"LOC_val_solution.csv": solution.encode()})
    taken(kaggle, tmp_path / "fourth")
    assert digest(tmp_path / "fourth") == digest(out)


def test_a_part_of_the_classes(root: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imagenet.write_tars(root)
    (root / "ILSVRC2012_img_train.tar").unlink()
    train = imagenet.training(3)
    for synset in ("n01440764", "n02012849"):
        imagenet.write(root / synset, train[synset])
    taken(root, out)
    assert classes(out) == ["tench", "crane"]
    assert len(facts(out)) == 12
    assert "passed over 9 images of the validation set, of classes that have no training" in (
        capsys.readouterr().err
    )
    (root / "ILSVRC2012_img_val.tar").unlink()
    taken(root, out.with_name("alone"))
    assert {origin for _, _, origin in facts(out.with_name("alone"))} == {""}


def test_class_names_are_readable_and_different() -> None:
    words = {synset: words for synset, words, _ in sorted(SYNSETS)}
    assert class_names(words) == dict(zip(words, NAMES, strict=True))


def test_a_bucket_holds_the_files(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    imagenet.write_tars(root)
    with object_stores.s3_server() as address:
        bucket = object_stores.Bucket(address, "imagenet-files")
        bucket.put({f"2012/{path.name}": path.read_bytes() for path in root.iterdir()})
        for name, value in bucket.env.items():
            monkeypatch.setenv(name, value)
        taken(root, out, url=f"{bucket.url}/2012")
    taken(root, out.with_name("local"))
    assert digest(out) == digest(out.with_name("local"))


def test_what_is_missing_or_damaged_is_told(root: Path, out: Path) -> None:
    imagenet.write_tars(root)
    kit = root / "ILSVRC2012_devkit_t12.tar.gz"
    train = root / "ILSVRC2012_img_train.tar"
    whole = {path: path.read_bytes() for path in (kit, train)}

    kit.unlink()
    with pytest.raises(UserError, match=r"lacks ILSVRC2012_devkit_t12.tar.gz, which names the cla"):
        taken(root, out)
    kit.write_bytes(whole[kit][: len(whole[kit]) // 2])
    with pytest.raises(UserError, match=r"devkit_t12.tar.gz cannot be unpacked \(.*replace it"):
        taken(root, out)
    truth = imagenet.validation(3)[1]
    damaged = imagenet.kit(truth) | {"meta.mat": b"no table"}
    kit.write_bytes(imagenet.tar(damaged, "gz"))
    with pytest.raises(UserError, match=r"the development kit cannot be read \(.*\): replace it"):
        taken(root, out)
    kit.write_bytes(imagenet.tar({"meta.mat": imagenet.kit(truth)["meta.mat"]}, "gz"))
    with pytest.raises(UserError, match=r"val_00000001.JPEG is no image of the validation set who"):
        taken(root, out)
    kit.write_bytes(whole[kit])

    train.write_bytes(whole[train][: len(whole[train]) // 2])
    with pytest.raises(UserError, match=r"img_train.tar.* is no plain tar file, or damaged \("):
        taken(root, out)
    train.write_bytes(imagenet.tar({"n99999999.tar": imagenet.tar({"n99999999_1.JPEG": b"x"})}))
    with pytest.raises(UserError, match=r"holds training images of 1 synsets: put ILSVRC2012_img"):
        taken(root, out)
    imagenet.write(root / "n01440764", imagenet.training(1)["n01440764"])
    with pytest.raises(UserError, match=r"does not know the synset n99999999"):
        taken(root, out)
