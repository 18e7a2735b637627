"""Encoded images read like an array, whatever the threads, and give random crops of themselves."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from classifier.core.errors import UserError
from classifier.core.resize import Resize, to_array
from classifier.dataset import encoded_images as module
from classifier.dataset.encoded_images import Crop, EncodedImages, part_path, view
from classifier.images.store import shard_writer
from classifier.preprocessing.encode import encoded
from tests.support.manifests import photo

ROWS = 23


def written(folder: Path, rows_in_part: int) -> EncodedImages:
    folder.mkdir(exist_ok=True)
    places = []
    for number, first in enumerate(range(0, ROWS, rows_in_part)):
        with shard_writer(part_path(folder, "train", number)) as add:
            for row in range(first, min(first + rows_in_part, ROWS)):
                _, data = encoded(photo(row, (90 + row, 70)), 3, 80, 90)
                places.append(add(f"{row}.jpg", data)[1:])
    np.save(folder / "train_places.npy", np.array(places))
    return EncodedImages(folder, "train", rows_in_part, 64, 3, Resize())


@pytest.fixture
def images(tmp_path: Path) -> EncodedImages:
    return written(tmp_path / "parts", 10)


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(None), slice(3, 12), slice(9, 9), [5, 4, 5], np.array([22, 0, 10, 9, -2]),
     np.arange(ROWS) % 3 == 0],
    ids=str,
)  # fmt: skip
def test_an_index_reads_what_it_reads_of_an_array(images: EncodedImages, key: Any) -> None:
    wanted = np.stack([images[row] for row in range(ROWS)])[key]
    assert images[key].shape == wanted.shape
    assert np.array_equal(images[key], wanted)


def test_parts_and_threads_change_no_bit(
    images: EncodedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = np.random.default_rng(0).uniform(0.3, 1, (ROWS, 4))
    rows = np.random.default_rng(1).permutation(ROWS)

    def read(source: EncodedImages, threads: int) -> bytes:
        monkeypatch.setattr(module, "cores", lambda: threads)
        out = np.empty((ROWS, 64, 64, 3), np.uint8)
        source.read(rows, out, crops)
        return out.tobytes() + source[:].tobytes()

    one = read(images, 1)
    assert one == read(images, 2) == read(images, 7) == read(images, 100)
    assert one == read(written(tmp_path / "other", 4), 3)


def test_a_selection_is_read_when_it_is_indexed_and_carries_its_rows_alone(
    images: EncodedImages,
) -> None:
    rows = np.array([9, 2, 2, 20])
    chosen = images.select(rows)
    assert chosen.shape == (4, 64, 64, 3)
    assert np.array_equal(chosen[1:], images[rows[1:]])
    assert np.array_equal(chosen.select(slice(3, None))[:], images[rows[3:]])
    there = pickle.loads(pickle.dumps(images.select(slice(1, 2))))  # noqa: S301 (its own bytes)
    assert len(there._places) == 1
    assert np.array_equal(there[0], images[1])


WHOLE = Crop(1, 1, 0.5, 0.5)


@pytest.mark.parametrize("resize", [Resize(), Resize("squash", "bicubic"), Resize("pad")], ids=str)
@pytest.mark.parametrize("size", [(100, 70), (70, 100), (81, 80)])
def test_the_greatest_crop_is_what_evaluation_sees(resize: Resize, size: tuple[int, int]) -> None:
    _, data = encoded(photo(3, size), 3, 80, 90)
    found, wanted = (view(data, 64, 3, resize, crop).astype(int) for crop in (WHOLE, None))
    # The borders of `pad` lie between pixels here, and at the nearest ones there.
    assert np.abs(found - wanted).mean() <= (0 if resize.mode == "squash" else 6)


def test_a_crop_of_a_crop_is_of_the_whole_photo_at_its_own_proportions() -> None:
    """A gradient tells where each pixel comes from."""
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[..., 0] = np.arange(200)
    pixels[..., 1] = np.arange(100)[:, None]
    _, data = encoded(Image.fromarray(pixels), 3, 100, "lossless")

    def seen(resize: Resize, crop: Crop) -> list[int]:
        """First and last column, first and last row that are seen."""
        square = view(data, 50, 3, resize, crop)
        return [*square[25, [0, -1], 0].tolist(), *square[[0, -1], 25, 1].tolist()]

    square = Crop(0.125, 1, 0, 1)  # an eighth of the area, left and at the bottom
    assert seen(Resize("crop"), square) == pytest.approx([0, 50, 50, 100], abs=2)
    assert seen(Resize(), square) == pytest.approx([0, 71, 65, 100], abs=2)
    right = square._replace(x=1, y=0)
    assert seen(Resize("crop"), right) == pytest.approx([150, 200, 0, 50], abs=2)
    assert seen(Resize("pad"), Crop(0.16, 1, 0.5, 0.5)) == pytest.approx([60, 140, 10, 90], abs=2)
    wider = view(data, 50, 3, Resize("crop"), Crop(1, 4 / 3, 0, 0))
    assert wider.shape == (50, 50, 3), "wider than it is"


def test_a_crop_shows_detail_that_the_resized_image_has_lost() -> None:
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 255
    _, data = encoded(Image.fromarray(stripes), 3, 200, "lossless")
    crop = Crop(0.25, 1, 0, 0)
    assert view(data, 100, 3, Resize(), crop).std() > 100
    assert to_array(Image.fromarray(stripes), 100, 3).std() < 10


@pytest.mark.parametrize("damage", ["cut off", "broken", "gone", "index"])
def test_damage_is_said_in_one_sentence(images: EncodedImages, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "parts" / "train-00001.tar"
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(content[:5000])
    elif damage == "broken":
        start = images._places[13, 1]
        content[start : start + 4] = b"none"
        path.write_bytes(content)
    else:
        path = tmp_path / "parts" / "train_places.npy"
        path.write_bytes(b"none")
    said = rf"{path.name} cannot be read \(.*\): run dvc repro preprocess\.$"
    if damage != "broken":
        with pytest.raises(UserError, match=said):
            EncodedImages(tmp_path / "parts", "train", 10, 64, 3, Resize())
    if damage != "index":
        with pytest.raises(UserError, match=said):
            images[5:20]
    assert len(images[:10]) == 10, "of other parts nothing is lost"
