"""Class folders, digits and published sets all end as the same shards and manifest."""

import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.core.errors import UserError
from classifier.images import decode, hashing, parallel, store
from classifier.images.manifest import Manifest
from classifier.sources.download import DownloadParams, download
from classifier.sources.ingest import Summary
from tests.support.archives import make_cifar10, make_cifar100, make_idx, pin, serve, stage_command
from tools import ROOT


def image(path: Path, seed: int = 0, size: tuple[int, int] = (12, 10)) -> Path:
    """A small file of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def folder_of(root: Path, *names: str) -> Path:
    """A folder with a small image of its own at each name."""
    for seed, name in enumerate(names):
        image(root / name, seed)
    return root


def take(path: Path, out: Path, **settings: object) -> Summary:
    """Download from a folder into ``out``."""
    params = DownloadParams(**{"source": "folder", "path": str(path), "workers": 1} | settings)  # type: ignore[arg-type]
    return download(params, out, out.parent / "cache")


def rejected(out: Path) -> dict[str, str]:
    with (out / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def classes(out: Path) -> list[str]:
    return list(json.loads((out / "classes.json").read_text(encoding="utf-8")))


def test_class_folders(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "dog/b.png", "cat/a.png", "dog/old/c.PNG", "cat/é.jpg")
    assert take(root, out) == Summary(images=4, classes=2, unlabelled=0, rejected=0, blank=[])
    manifest = Manifest.read(out)
    assert manifest.id.tolist() == ["cat/a.png", "cat/é.jpg", "dog/b.png", "dog/old/c.PNG"]
    assert manifest.label.tolist() == ["cat", "cat", "dog", "dog"]
    assert set(manifest.origin.tolist()) == {""}
    assert manifest.width.tolist() == [12] * 4
    assert manifest.height.tolist() == [10] * 4
    assert classes(out) == ["cat", "dog"]
    source = json.loads((out / "source.json").read_text(encoding="utf-8"))
    assert (source["images"], source["origins"]) == (4, {"unsplit": 4})


def test_the_files_are_kept_as_they_are(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/a.jpg", "dog/b.png")
    take(root, out)
    manifest = Manifest.read(out)
    for row, name in enumerate(manifest.id):
        place = (manifest.shard[row], int(manifest.offset[row]), int(manifest.size[row]))
        data = store.read_bytes(out, *place)
        assert data == (root / name).read_bytes()
        assert manifest.content[row].decode() == hashing.content_hash(decode.decode(data))
        assert manifest.phash[row] == hashing.perceptual_hash(decode.decode(data))


def test_split_folders(tmp_path: Path, out: Path) -> None:
    root = folder_of(
        tmp_path / "in",
        *("train/cat/1.png", "train/dog/1.png", "train/ant/1.png", "valid/dog/1.png"),
        *("Test/cat/1.png", "Test/dog/1.png"),
    )
    take(root, out)
    manifest = Manifest.read(out)
    assert classes(out) == ["ant", "cat", "dog"]
    assert dict(zip(manifest.id.tolist(), manifest.origin.tolist(), strict=True)) == {
        "train/ant/1.png": "train",
        "train/cat/1.png": "train",
        "train/dog/1.png": "train",
        "valid/dog/1.png": "val",
        "Test/cat/1.png": "test",
        "Test/dog/1.png": "test",
    }


def test_a_test_folder_without_classes_is_unlabelled(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "train/cat/1.png", "train/dog/1.png", "test/7.png")
    assert take(root, out).unlabelled == 1
    manifest = Manifest.read(out)
    row = manifest.id.tolist().index("test/7.png")
    assert (manifest.label[row], manifest.origin[row]) == ("", "test")


def test_a_class_may_be_called_train(tmp_path: Path, out: Path) -> None:
    take(folder_of(tmp_path / "in", "train/1.png", "bus/1.png"), out)
    assert classes(out) == ["bus", "train"]


def test_side_files_are_passed_over_and_strange_ones_listed(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png", "__MACOSX/cat/1.png", "loose.png")
    for name in ("README.md", "cat/.DS_Store", "cat/Thumbs.db", "cat/labels.csv", "dog/._1.png"):
        (root / name).write_bytes(b"x")
    (root / "cat" / "paper.pdf").write_bytes(b"%PDF")
    (root / "empty").mkdir()
    take(root, out, max_rejected=1.0)
    assert Manifest.read(out).id.tolist() == ["cat/1.png", "dog/1.png"]
    assert {Path(path).name: reason for path, reason in rejected(out).items()} == {
        "paper.pdf": ".pdf is not an image format that can be read",
        "loose.png": "it lies in no class folder",
    }


def test_broken_images_are_listed_with_the_reason(tmp_path: Path, out: Path) -> None:
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(10)]
    root = folder_of(tmp_path / "in", *names)
    whole = image(tmp_path / "big.jpg", size=(80, 80)).read_bytes()
    (root / "cat" / "cut.jpg").write_bytes(whole[:900])
    (root / "cat" / "empty.png").write_bytes(b"")
    (root / "dog" / "text.png").write_bytes(b"no image")
    assert take(root, out, max_rejected=0.2) == Summary(20, 2, 0, 3, [])
    reasons = {Path(path).name: reason for path, reason in rejected(out).items()}
    assert reasons["cut.jpg"].startswith("damaged or cut off")
    assert reasons["empty.png"] == "the file is empty"
    assert reasons["text.png"] == "not an image of a known format"
    with pytest.raises(UserError) as caught:
        take(root, tmp_path / "second", max_rejected=0.1)
    message = str(caught.value)
    assert message.startswith("3 of 23 images cannot be used, more than download.max_rejected")
    assert "cut.jpg: damaged" in message


def test_a_image_bomb_is_one_rejected_image(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    Image.new("1", (10_000, 10_000)).save(root / "cat" / "bomb.png")
    take(root, out, max_rejected=0.5)
    assert "pixels" in next(iter(rejected(out).values()))


def test_a_class_of_broken_images_only_is_refused(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    (root / "dog" / "1.png").write_bytes(b"x")
    with pytest.raises(UserError) as caught:
        take(root, out, max_rejected=1.0)
    assert str(caught.value) == (
        "class 'dog': none of its 1 files can be used (1: not an image of a known format; the "
        f"first is {root}/dog/1.png): convert or mend them, or remove the class."
    )


def test_the_files_do_not_depend_on_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 0.0)
    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(300)]
    root = folder_of(tmp_path / "in", *names)
    (root / "cat" / "0.png").write_bytes(b"broken")
    for workers in (1, 2):
        take(root, tmp_path / str(workers), workers=workers, max_rejected=0.1)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / n).iterdir()} for n in "12")
    assert one == two


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "holds no images in class folders"),
        (["1.png", "2.png"], "holds no images in class folders"),
        (["cat/1.png", "cat/2.png"], r"holds one class only \('cat'\)"),
        (["train/cat/1.png", "train/dog/1.png", "test/cow/1.png"], "class 'cow' is in .*test but"),
        (["test/cat/1.png", "val/cat/1.png"], "but no train folder"),
        (["train/cat/1.png", "train/dog/1.png", "extra/1.png"], "extra lies beside"),
        (["train/a/1.png", "train/b/1.png", "val/a/1.png", "valid/a/1.png"], "two folders that"),
    ],
)
def test_layouts_that_make_no_set(
    tmp_path: Path, out: Path, names: list[str], sentence: str
) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (root / "README.md").write_text("x")
    with pytest.raises(UserError, match=sentence):
        take(folder_of(root, *names), out)


def test_a_missing_folder_or_a_file_in_its_place(tmp_path: Path, out: Path) -> None:
    with pytest.raises(UserError, match=r"download.path: the folder .* does not exist"):
        take(tmp_path / "nowhere", out)
    with pytest.raises(UserError, match="is a file, not a folder"):
        take(image(tmp_path / "a.png"), out)


@pytest.mark.skipif(os.name == "nt", reason="names are always text there")
def test_a_name_that_is_no_text_is_rejected(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    (root / "cat" / "1.png").rename(os.fsdecode(os.fsencode(root / "cat") + b"/\xff.png"))
    image(root / "cat" / "2.png")
    take(root, out, max_rejected=0.5)
    assert list(rejected(out).values()) == ["its name is not valid text: rename it"]


def test_digits(tmp_path: Path, out: Path) -> None:
    assert take(tmp_path, out, source="digits").images == 1797
    manifest = Manifest.read(out)
    assert classes(out) == [str(digit) for digit in range(10)]
    assert set(manifest.mode.tolist()) == {"L"}
    place = (manifest.shard[3], int(manifest.offset[3]), int(manifest.size[3]))
    pixels = np.asarray(decode.decode(store.read_bytes(out, *place)))
    assert pixels.shape == (8, 8)
    assert pixels.max() == round(15 * 255 / 16)  # the scans count from 0 to 16


def test_published_sets_come_from_a_mirror(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from classifier.sources.published import named

    monkeypatch.setattr(named, "SETS", dict(named.SETS))
    mirror = tmp_path / "mirror"
    make_cifar10(mirror, per_class=2)
    make_cifar100(mirror, per_class=1)
    make_idx(mirror, per_class=3)
    expected = {
        "cifar10": (120, 10, "airplane", "RGB", (32, 32), 100),
        "cifar100": (200, 100, "thing_00", "RGB", (32, 32), 100),
        "mnist": (60, 10, "0", "L", (28, 28), 30),
        "fashion_mnist": (60, 10, "T-shirt/top", "L", (28, 28), 30),
        "kmnist": (60, 10, "o", "L", (28, 28), 30),
    }
    with serve(mirror) as url:
        for number, (name, facts) in enumerate(expected.items()):
            pin(name, mirror)
            place = url if number % 2 else str(mirror)
            take(tmp_path, out / name, source=name, mirror=place)
            manifest = Manifest.read(out / name)
            names = classes(out / name)
            train = int((manifest.origin == "train").sum())
            size = (int(manifest.width[0]), int(manifest.height[0]))
            found = (len(manifest), len(names), names[0], str(manifest.mode[0]), size, train)
            assert found == facts


def test_cifar_planes_become_pixels(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tarfile

    from classifier.sources.published import named

    monkeypatch.setattr(named, "SETS", dict(named.SETS))
    archive = make_cifar10(tmp_path / "mirror", per_class=1)
    pin("cifar10", archive.parent)
    take(tmp_path, out, source="cifar10", mirror=str(archive.parent))
    with tarfile.open(archive) as tar:
        member = tar.extractfile("cifar-10-batches-bin/test_batch.bin")
        assert member is not None
        record = np.frombuffer(member.read(), np.uint8)[:3073]
    manifest = Manifest.read(out)
    row = manifest.id.tolist().index("test/00000")
    place = (manifest.shard[row], int(manifest.offset[row]), int(manifest.size[row]))
    pixels = np.asarray(decode.decode(store.read_bytes(out, *place)))
    assert manifest.label[row] == classes(out)[record[0]]
    assert np.array_equal(pixels.transpose(2, 0, 1).ravel(), record[1:])


def test_archives_that_are_not_what_they_seem(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    from classifier.sources.published import named

    monkeypatch.setattr(named, "SETS", dict(named.SETS))
    mirror = tmp_path / "mirror"
    make_cifar10(mirror, per_class=1).rename(mirror / "cifar-100-binary.tar.gz")
    pin("cifar100", mirror)
    with pytest.raises(UserError, match=r"lacks fine_label_names.txt"):
        take(tmp_path, out, source="cifar100", mirror=str(mirror))
    make_idx(mirror, per_class=1)
    labels = mirror / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(gzip.decompress(labels.read_bytes())[:-2]))
    pin("mnist", mirror)
    with pytest.raises(UserError, match="has 8 elements where its header says 10"):
        take(tmp_path, out, source="mnist", mirror=str(mirror))


def test_the_published_checksum_is_asked_for(tmp_path: Path, out: Path) -> None:
    make_idx(tmp_path / "mirror", per_class=1)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz has [0-9,]+ bytes where"):
        take_offline("mnist", tmp_path / "mirror", out)


def take_offline(name: str, mirror: Path, out: Path) -> None:
    """Take a set with its published checksums, but ask its own mirrors for nothing."""
    from dataclasses import replace

    from classifier.sources.published import named

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(named.SETS, name, replace(named.SETS[name], mirrors=()))
        take(out, out, source=name, mirror=str(mirror))


def test_the_stage_writes_all_or_nothing(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    make_idx(mirror, per_class=2)
    params = f"download: {{source: mnist, path: x, mirror: '{mirror}'}}\n"
    (tmp_path / "params.yaml").write_text(params)
    command = stage_command("mnist", mirror)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("40 images, 10 classes")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data/raw").iterdir()}
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(b"broken")
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: ")
    assert len(run.stderr.splitlines()) == 1
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "data/raw").iterdir()}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["raw"]


def test_the_stage_imports_nothing_heavy() -> None:
    code = (
        "import sys, stages.download; "
        "print([m for m in ('torch', 'torchvision', 'sklearn', 'pandas', 'scipy', 'requests') "
        "if m in sys.modules])"
    )
    command = [*stage_command("mnist", Path())[:2], code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_a_file_that_would_fill_the_memory_is_rejected_unread(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    with (root / "cat" / "2.png").open("wb") as file:
        file.truncate((1 << 30) + 1)
    take(root, out, max_rejected=1.0)
    assert rejected(out) == {(root / "cat" / "2.png").as_posix(): "larger than 1 GiB"}
