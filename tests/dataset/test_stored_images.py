"""Images that are read from their file when asked for: the same bytes as an array in memory."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.core.errors import UserError
from classifier.dataset.stored_images import READ_AHEAD, StoredImages, read_ahead

CONTENT = np.random.default_rng(0).integers(0, 256, (53, 4, 5, 3), np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", CONTENT)
    return tmp_path / "images.npy"


def parts(folder: Path, rows: int) -> StoredImages:
    """The same images in files of so many."""
    paths = [folder / f"part-{start:05d}.npy" for start in range(0, 53, rows)]
    for path, start in zip(paths, range(0, 53, rows), strict=True):
        np.save(path, CONTENT[start : start + rows])
    return StoredImages(*paths)


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(None), slice(3, 9), slice(40, 99), slice(9, 9), slice(None, None, 7), [5, 4, 5],
     np.array([52, 0, 1, 2, -2, 30, 31]), np.random.default_rng(1).permutation(53),
     np.arange(53) % 3 == 0],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("rows", [53, 11, 1], ids=["one file", "parts", "a file an image"])
def test_an_index_reads_what_it_reads_of_an_array(tmp_path: Path, key: Any, rows: int) -> None:
    found, wanted = parts(tmp_path, rows)[key], CONTENT[key]
    assert found.shape == wanted.shape
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted)


def test_it_has_the_facts_of_an_array(path: Path) -> None:
    images = StoredImages(path)
    assert (len(images), images.shape, images.nbytes) == (53, (53, 4, 5, 3), CONTENT.nbytes)
    assert np.array_equal(np.asarray(images), CONTENT)
    with pytest.raises(IndexError):
        images[53]


def test_a_selection_is_read_when_it_is_indexed(path: Path) -> None:
    rows = np.array([9, 2, 2, 50, 51, 52])
    chosen = StoredImages(path).select(rows)
    assert chosen.shape == (6, 4, 5, 3)
    assert chosen.nbytes == 6 * 60
    assert np.array_equal(chosen[1:5], CONTENT[rows[1:5]])
    assert np.array_equal(chosen.select(slice(3, None))[:], CONTENT[rows[3:]])


class Counted(io.FileIO):
    """A file that hands out a few bytes at a time, as a read of more than 2 GB does."""

    most = 1 << 30
    reads = 0

    def readinto(self, buffer: Any) -> int:
        Counted.reads += 1
        return super().readinto(memoryview(buffer)[: Counted.most])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    Counted.most, Counted.reads = 1 << 30, 0
    monkeypatch.setattr(Path, "open", lambda self, *_, **__: Counted(self, "rb"))
    return Counted


def test_a_short_read_goes_on(path: Path, counted: type[Counted]) -> None:
    images = StoredImages(path)
    counted.most = 7
    assert np.array_equal(images[[8, 3, 4, 52]], CONTENT[[8, 3, 4, 52]])


def test_neighbors_are_read_together(path: Path, counted: type[Counted]) -> None:
    images = StoredImages(path)
    assert np.array_equal(images[:52], CONTENT[:52])
    assert counted.reads == 4, "one read a thread"


def test_a_file_that_is_cut_off_is_said_in_one_sentence(path: Path) -> None:
    images = StoredImages(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"images\.npy cannot be read .*: run dvc repro preprocess"):
        images[50:]
    assert np.array_equal(images[:52], CONTENT[:52])
    with pytest.raises(UserError, match=r"images\.npy cannot be read .*: run dvc repro preprocess"):
        StoredImages(path)


def test_a_part_that_is_gone_is_said_in_one_sentence(tmp_path: Path) -> None:
    images = parts(tmp_path, 11)
    (tmp_path / "part-00022.npy").unlink()
    with pytest.raises(UserError, match=r"part-00022\.npy cannot be read .*: run dvc repro"):
        images[20:30]
    assert np.array_equal(images[:22], CONTENT[:22])


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", b"not an array at all"])
def test_so_is_one_that_is_missing_or_damaged(path: Path, content: bytes | None) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"images\.npy cannot be read .*: run dvc repro preprocess"):
        StoredImages(path)


def test_only_a_few_pieces_are_read_ahead() -> None:
    read: list[int] = []
    for piece in read_ahead(lambda piece: read.append(piece) or piece, range(20)):  # type: ignore[func-returns-value]
        assert len(read) <= piece + 1 + READ_AHEAD
    assert read == [*range(20)]
