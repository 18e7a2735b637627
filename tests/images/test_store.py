"""Shards are tar files of bounded size, with the same bytes for the same images."""

import tarfile
from pathlib import Path

import pytest

from classifier.images.manifest import Manifest
from classifier.images.store import Record, ShardWriter, read_bytes, write_manifest

IMAGES = [(f"cats/été {number}.png", bytes([number]) * (700 * number)) for number in range(1, 8)]


def write(folder: Path, limit: int = 4000) -> list[tuple[str, int, int]]:
    folder.mkdir()
    with ShardWriter(folder, limit) as shards:
        return [shards.add(name, data) for name, data in IMAGES]


def test_bytes_come_back_from_their_place(tmp_path: Path) -> None:
    places = write(tmp_path / "a")
    assert [read_bytes(tmp_path / "a", *place) for place in places] == [d for _, d in IMAGES]


def test_shards_are_ordinary_tar_files_of_bounded_size(tmp_path: Path) -> None:
    write(tmp_path / "a")
    shards = sorted((tmp_path / "a").glob("shard-*.tar"))
    assert len(shards) > 2
    found = {}
    for shard in shards:
        assert shard.stat().st_size <= 4000 + 4900 + 3 * 512 + tarfile.RECORDSIZE
        with tarfile.open(shard) as tar:
            found |= {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert found == dict(IMAGES)


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
