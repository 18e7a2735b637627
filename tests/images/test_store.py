"""Shards are tar files of bounded size, with the same bytes for the same images."""

import tarfile
from pathlib import Path

import pytest

from classifier.images.manifest import Manifest
from classifier.images.store import Record, read_bytes, shard_writer, write_manifest

IMAGES = [(f"cats/été {number}.png", bytes([number]) * (700 * number)) for number in range(1, 8)]


def write(folder: Path) -> list[tuple[str, int, int]]:
    with shard_writer(folder / "shard-00007.tar") as add:
        return [add(name, data) for name, data in IMAGES]


def test_bytes_come_back_from_their_place(tmp_path: Path) -> None:
    places = write(tmp_path / "a")
    assert [read_bytes(tmp_path / "a", *place) for place in places] == [d for _, d in IMAGES]


def test_a_shard_is_an_ordinary_tar_file(tmp_path: Path) -> None:
    write(tmp_path)
    (shard,) = tmp_path.iterdir()
    assert shard.stat().st_size % tarfile.RECORDSIZE == 0
    with tarfile.open(shard) as tar:
        found = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert found == dict(IMAGES)


def test_a_writer_that_fails_leaves_no_shard(tmp_path: Path) -> None:
    def fail() -> None:
        with shard_writer(tmp_path / "shard-00000.tar") as add:
            add(*IMAGES[0])
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    for shard in (tmp_path / "a").iterdir():
        assert shard.read_bytes() == (tmp_path / "b" / shard.name).read_bytes()


def test_a_shard_cut_off_is_noticed(tmp_path: Path) -> None:
    shard, offset, size = write(tmp_path / "a")[2]
    path = tmp_path / "a" / shard
    path.write_bytes(path.read_bytes()[: offset + 10])
    with pytest.raises(ValueError, match="cut off"):
        read_bytes(tmp_path / "a", shard, offset, size)


def test_the_manifest_keeps_odd_names(tmp_path: Path) -> None:
    odd = 'a, "b"\nc'
    record = Record(
        odd, "é", "", "", 4, 5, "L", "0f", "00000000000000ff", "shard-00000.tar", 512, 9
    )
    write_manifest(tmp_path, [record])
    manifest = Manifest.read(tmp_path)
    assert manifest.id.tolist() == [odd]
    assert manifest.label.tolist() == ["é"]
    assert (manifest.width[0], manifest.height[0], manifest.offset[0]) == (4, 5, 512)
