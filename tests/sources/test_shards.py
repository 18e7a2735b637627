"""Several archives are one set, and WebDataset's tar files are known by what they hold."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.images import store
from classifier.images.manifest import Manifest
from tests.sources.test_archive import pack, unpacked
from tests.sources.test_download import classes, folder_of, image, rejected


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    return folder


def png(tmp_path: Path, seed: int) -> bytes:
    return image(tmp_path / f"{seed}.png", seed).read_bytes()


def write(path: Path, files: dict[str, bytes], kind: str = "") -> Path:
    """A tar file of these files, in this order."""
    with tarfile.open(path, f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def samples(tmp_path: Path, labels: list[str], first: int = 0) -> dict[str, bytes]:
    """Samples of an image and a label each."""
    files: dict[str, bytes] = {}
    for seed, label in enumerate(labels, first):
        files[f"{seed:06d}.png"] = png(tmp_path, seed)
        files[f"{seed:06d}.cls"] = label.encode()
    return files


def labels_of(out: Path) -> list[tuple[str, str]]:
    manifest = Manifest.read(out)
    return list(zip(manifest.label.tolist(), manifest.origin.tolist(), strict=True))


@pytest.mark.parametrize("kind", ["", "gz"])
def test_samples_in_one_tar_file(tmp_path: Path, out: Path, kind: str) -> None:
    archive = write(tmp_path / "pets.tar", samples(tmp_path, ["cat", "dog", "cat\n"]), kind)
    assert unpacked(archive, out).images == 3
    manifest = Manifest.read(out)
    assert manifest.id.tolist() == [f"pets/00000{number}.png" for number in range(3)]
    assert labels_of(out) == [("cat", ""), ("dog", ""), ("cat", "")]
    place = (manifest.shard[1], int(manifest.offset[1]), int(manifest.size[1]))
    assert store.read_bytes(out, *place) == png(tmp_path, 1)


def test_shards_are_named_after_splits_and_numbers_after_classes(
    tmp_path: Path, out: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(shards / "pets-train-0000.tar", samples(tmp_path, ["10", "2"]))
    write(shards / "pets-train-0001.tar", samples(tmp_path, ["2", "0"], 2))
    write(shards / "pets-val-{0..1}.tar", samples(tmp_path, ["10"], 4))
    write(shards / "pets-test-0000.tar", {"000009.png": png(tmp_path, 9)})
    (shards / "_info.json").write_text("{}")
    unpacked(shards, out)
    assert sorted(labels_of(out)) == [
        ("", "test"), ("0", "train"), ("10", "train"), ("10", "val"), ("2", "train"),
        ("2", "train"),
    ]  # fmt: skip
    assert classes(out) == ["0", "2", "10"]
    assert "the classes are numbers; classnames.txt" in capsys.readouterr().err
    names = [f"kind {number}" for number in range(11)]
    (shards / "classnames.txt").write_text("\n".join(names))
    unpacked(shards, tmp_path / "named")
    assert classes(tmp_path / "named") == ["kind 0", "kind 2", "kind 10"]
    assert ("kind 10", "val") in labels_of(tmp_path / "named")
    (shards / "classnames.txt").write_text("\n".join(names[:10]))
    with pytest.raises(UserError, match=r"classnames.txt has 10 lines, and there is a class 10"):
        unpacked(shards, out)


def test_labels_in_json(tmp_path: Path, out: Path) -> None:
    files: dict[str, bytes] = {}
    for seed, content in enumerate([{"label": "cat"}, {"class": "dog"}, {"label": "dog", "x": 1}]):
        files[f"set/{seed}.seg.png"] = b"another part of the sample"
        files[f"set/{seed}.png"] = png(tmp_path, seed)
        files[f"set/{seed}.json"] = json.dumps(content).encode()
    unpacked(write(tmp_path / "a.tar", files), out)
    assert [label for label, _ in labels_of(out)] == ["cat", "dog", "dog"]
    files["set/1.json"] = b'{"kind": "owl"}'
    write(tmp_path / "a.tar", files)
    with pytest.raises(UserError, match=r"a.tar/set/1.png has no label: .*the key 'label'"):
        unpacked(tmp_path / "a.tar", out)
    files |= {f"set/{seed}.json": json.dumps({"kind": f"k{seed}"}).encode() for seed in range(3)}
    unpacked(write(tmp_path / "a.tar", files), tmp_path / "key", label_column="kind")
    assert classes(tmp_path / "key") == ["k0", "k1", "k2"]
    files["set/1.json"] = b"{"
    with pytest.raises(UserError, match=r"a.tar/set/1.json is no JSON .*: mend it"):
        unpacked(write(tmp_path / "a.tar", files), out, label_column="kind")


def test_json_beside_images_in_class_folders_is_no_label(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    for kind in ("cat", "dog"):
        (root / kind / "1.json").write_text('{"label": "owl"}')
    unpacked(pack(tmp_path / "a.tar", root), out)
    assert classes(out) == ["cat", "dog"]


def test_faults_of_samples_are_told(tmp_path: Path, out: Path, shards: Path) -> None:
    files = samples(tmp_path, ["cat", "dog", "dog"])
    files["000002.jpg"] = files["000001.png"]
    unpacked(write(tmp_path / "a.tar", files), out, max_rejected=1.0)
    assert rejected(out) == {"a.tar/000002.jpg": "its sample has several images (.jpg, .png)"}
    write(shards / "train-0.tar", samples(tmp_path, ["cat", "dog"]))
    write(shards / "more.tar", samples(tmp_path, ["cat", "dog"], 2))
    with pytest.raises(UserError, match=r"more says neither train, val nor test as other shards"):
        unpacked(shards, out)
    (shards / "more.tar").rename(shards / "val-0.tar")
    unpacked(shards, out)
    write(shards / "val-0.tar", samples(tmp_path, ["owl"], 2))
    with pytest.raises(UserError, match=r"has the label 'owl', which training lacks"):
        unpacked(shards, out)
    with pytest.raises(UserError, match=r"training samples of 1 class"):
        unpacked(write(tmp_path / "b.tar", samples(tmp_path, ["cat"])), out)


def test_a_plain_tar_file_is_read_where_it_lies(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of 150 GB takes no further space for unpacking."""
    from classifier.sources import unpack

    monkeypatch.setattr(unpack, "MAX_BYTES", 0)
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    assert unpacked(pack(tmp_path / "a.tar", root), out).images == 2
    with pytest.raises(UserError, match="unpacks to more than 0 GiB"):
        unpacked(pack(tmp_path / "a.tar.gz", root), out)


def test_several_archives_are_folders_of_their_names(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "splits"
    folder.mkdir()
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    pack(folder / "train.zip", root, "train")
    pack(folder / "test.tar.gz", root)
    unpacked(folder, out)
    assert sorted(labels_of(out)) == [
        ("cat", "test"), ("cat", "train"), ("dog", "test"), ("dog", "train"),
    ]  # fmt: skip
    kinds = tmp_path / "kinds"
    kinds.mkdir()
    for kind in ("cat", "dog"):
        pack(kinds / f"{kind}.tar", root / kind)
    unpacked(kinds, tmp_path / "second")
    assert Manifest.read(tmp_path / "second").id.tolist() == ["cat/1.png", "dog/1.png"]
    pack(kinds / "cat.zip", root / "cat")
    with pytest.raises(UserError, match="has two archives or folders called 'cat'"):
        unpacked(kinds, out)


def test_a_table_beside_archives(tmp_path: Path, out: Path) -> None:
    """As competitions have it."""
    folder = tmp_path / "competition"
    folder.mkdir()
    root = folder_of(tmp_path / "in", "1.png", "2.png", "3.png")
    pack(folder / "train.zip", root)
    (folder / "train.csv").write_text("image,label\n1,cat\n2,dog\n3,cat\n")
    unpacked(folder, out, image_folder="train")
    assert [label for label, _ in labels_of(out)] == ["cat", "dog", "cat"]
