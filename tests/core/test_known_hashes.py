"""Hashes that are known from before hold for the files that were hashed, and for no others."""

import os
from pathlib import Path

import pytest

from classifier.core import known_hashes
from classifier.core.files import sha256
from classifier.core.known_hashes import hashes


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as unchanged for long."""
    monkeypatch.setattr(known_hashes, "SETTLED", -1.0)
    (tmp_path / "train.npy").write_bytes(b"one")
    return tmp_path / "train.npy"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read to be hashed."""
    names: list[str] = []

    def counted(path: Path) -> str:
        names.append(path.name)
        return sha256(path)

    monkeypatch.setattr(known_hashes, "sha256", counted)
    return names


def test_a_file_is_read_once(data: Path, read: list[str], tmp_path: Path) -> None:
    known = tmp_path / "run/hashes.json"
    first = hashes([data], known)
    assert first == hashes([data], known) == {data.as_posix(): sha256(data)}
    assert read == ["train.npy"]
    hashes([data])
    assert read == ["train.npy"] * 2, "without a place to remember"


def test_other_content_of_the_same_size_and_time_is_read_again(data: Path, tmp_path: Path) -> None:
    before = hashes([data], tmp_path / "hashes.json")
    status = data.stat()
    with data.open("r+b") as file:
        file.write(b"two")
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = hashes([data], tmp_path / "hashes.json")
    assert after == {data.as_posix(): sha256(data)} != before


def test_a_file_that_has_just_changed_is_not_remembered(
    data: Path, read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_hashes, "SETTLED", 60.0)
    hashes([data], tmp_path / "hashes.json")
    hashes([data], tmp_path / "hashes.json")
    assert read == ["train.npy"] * 2


@pytest.mark.parametrize("content", ["", "[]", "{", '{"train.npy": 3}'])
def test_a_damaged_memory_is_written_anew(
    data: Path, read: list[str], tmp_path: Path, content: str
) -> None:
    known = tmp_path / "hashes.json"
    known.write_text(content, encoding="utf-8")
    assert hashes([data], known) == hashes([data], known) == {data.as_posix(): sha256(data)}
    assert read == ["train.npy"]
