"""Images that are stored encoded: the bytes of any writer, and the pixels of the stated rule."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.core.errors import UserError
from classifier.core.parse import parse
from classifier.core.resize import Resize, to_array
from classifier.dataset.encoded_images import EncodedImages
from classifier.dataset.prepared import PreparedData
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.preprocessing import encode as encode_module
from classifier.preprocessing import prepare as module
from classifier.preprocessing.encode import encoded
from classifier.preprocessing.prepare import PreprocessParams, prepare
from tests.preprocessing.test_prepare import chosen
from tests.support.image_files import WAYS
from tests.support.manifests import packed, photo

CLASSES = ["cat", "dog"]
ENCODED = PreprocessParams(
    56, "auto", "squash", "standardize", workers=1, storage="encoded", encoded_size=70
)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    images = [(CLASSES[seed % 2], photo(seed, (140 - seed, 90 + seed))) for seed in range(30)]
    packed(tmp_path / "raw", [*images, ("", photo(99, (300, 80)))])
    return tmp_path / "raw"


def run(raw: Path, params: PreprocessParams, name: str = "prepared") -> PreparedData:
    manifest = Manifest.read(raw)
    cycle = np.array(["train", "train", "val", "train", "test"])[np.arange(len(manifest)) % 5]
    division = np.where(manifest.label == "", "unlabelled", cycle)
    return prepare(raw, manifest, division, CLASSES, params, raw.parent / name)


def stored(data: PreparedData, split: str) -> list[bytes]:
    """The encoded images of a split, taken out of its tar files by another program's rules."""
    found = []
    for path in sorted(data.folder.glob(f"{split}-*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            assert names == [f"{split}-{len(found) + n:09d}.jpg" for n in range(len(names))]
            for name in names:
                member = tar.extractfile(name)
                assert member
                found.append(member.read())
    return found


@pytest.mark.parametrize("resize", WAYS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_evaluation_sees_the_encoded_images_decoded_and_resized(
    raw: Path, resize: Resize, channels: int
) -> None:
    params = replace(ENCODED, **chosen(resize), channels=channels)
    data, arrays = run(raw, params), run(raw, replace(params, storage="arrays"), "arrays")
    assert data.splits == ["train", "val", "test", "unlabelled"]
    for split in data.splits:
        images, files = data.images(split), stored(data, split)
        assert isinstance(images, EncodedImages)
        assert images.shape == (len(files), 56, 56, channels)
        for image, file in zip(images, files, strict=True):
            whole = decode(file)
            assert whole.mode == ("L" if channels == 1 else "RGB")
            assert min(whole.size) == 70
            assert np.array_equal(image, to_array(whole, 56, channels, resize))
        difference = images[:].astype(int) - arrays.images(split)[:]
        assert np.abs(difference).mean() < 2.5, "of 255, from the arrays of the same images"
        assert data.ids(split) == arrays.ids(split)
        assert np.array_equal(data.sizes(split), arrays.sizes(split))
        if split != "unlabelled":
            assert np.array_equal(data.labels(split), arrays.labels(split))


def test_what_is_stored_is_large_enough_for_the_cut(raw: Path) -> None:
    with pytest.raises(UserError, match=r"70 pixels are fewer than preprocess\.image_size by crop"):
        run(raw, replace(ENCODED, resize="crop", crop_fraction=0.5))
    automatic = replace(ENCODED, resize="crop", crop_fraction=0.5, encoded_size="auto")
    assert run(raw, automatic).meta["encoded"]["size"] == 112


def test_mean_and_deviation_are_those_of_what_evaluation_sees_of_train(raw: Path) -> None:
    data = run(raw, ENCODED)
    train = data.images("train")[:].astype(np.float64) / 255
    np.testing.assert_allclose(data.meta["mean"], train.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(data.meta["std"], train.std(axis=(0, 1, 2)), rtol=1e-5)


def test_the_bytes_do_not_depend_on_who_writes_them(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(raw, ENCODED, "whole")
    monkeypatch.setattr(module, "PART_BYTES", 5 * 70 * 70 * 3)
    monkeypatch.setattr(module, "FEW_BYTES", 0)
    monkeypatch.setattr("classifier.images.parallel.WORTH_PROCESSES", 0.0)
    one = run(raw, ENCODED, "one")
    many = run(raw, replace(ENCODED, workers=3), "many")
    written = []

    def cluster(work, pieces, _):  # type: ignore[no-untyped-def]
        """Parts come to be in any order, and a node that is lost has its part written again."""
        pieces = list(pieces)
        written.extend(work(piece) for piece in reversed(pieces))
        return map(work, pieces)

    monkeypatch.setattr(encode_module, "ordered_map", cluster)
    cluster_made = run(raw, ENCODED, "cluster")
    assert len(written) == 4 + 2 + 2 + 1
    names = sorted(path.name for path in one.folder.iterdir())
    assert {"train-00000.tar", "train-00003.tar", "train_places.npy"} <= set(names)
    for other in (many, cluster_made):
        assert names == sorted(path.name for path in other.folder.iterdir())
        for name in names:
            same = (one.folder / name).read_bytes() == (other.folder / name).read_bytes()
            assert same, name
    for split in whole.splits:
        assert np.array_equal(one.images(split), whole.images(split)), "in parts or not"
    assert one.meta["mean"] == whole.meta["mean"]


def test_photos_are_jpeg_and_small_images_lose_nothing() -> None:
    def form(size: tuple[int, int], quality: int = 90) -> tuple[str, tuple[int, int]]:
        ending, data = encoded(photo(1, size), 3, 100, quality)
        with Image.open(io.BytesIO(data)) as image:
            return ending, image.size

    assert form((300, 200)) == (".jpg", (150, 100))
    assert form((80, 90)) == (".jpg", (80, 90)), "never enlarged"
    assert form((63, 200)) == (".png", (63, 200))
    assert form((80, 70_000)) == (".png", (80, 70_000)), "JPEG knows no such side"
    ending, data = encoded(photo(1, (80, 90)), 3, 100, "lossless")
    assert ending == ".png"
    assert np.array_equal(np.asarray(decode(data)), np.asarray(photo(1, (80, 90))))
    sizes = [len(encoded(photo(1, (300, 200)), 3, 100, quality)[1]) for quality in (50, 90, 100)]
    assert sizes == sorted(sizes)


def test_small_images_are_the_pixels_of_the_arrays(tmp_path: Path) -> None:
    packed(tmp_path / "raw", [(CLASSES[seed % 2], photo(seed, (32, 32))) for seed in range(10)])
    params = replace(ENCODED, image_size=32, encoded_size="auto")
    data = run(tmp_path / "raw", params)
    arrays = run(tmp_path / "raw", replace(params, storage="arrays"), "arrays")
    assert data.meta["encoded"]["size"] == 37
    assert np.array_equal(data.images("train"), arrays.images("train"))
    assert {**data.meta, "encoded": None} == {**arrays.meta, "encoded": None}


def test_too_small_a_working_resolution_is_refused(raw: Path) -> None:
    with pytest.raises(UserError, match=r"preprocess\.encoded_size: 40 pixels are fewer than"):
        run(raw, replace(ENCODED, encoded_size=40))
    run(raw, replace(ENCODED, encoded_size=40, storage="arrays"), "arrays")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("storage", "jpeg", r"preprocess\.storage.*arrays"),
        ("encoded_size", 0, r"preprocess\.encoded_size"),
        ("encoded_quality", 101, r"preprocess\.encoded_quality"),
        ("encoded_quality", "png", r"preprocess\.encoded_quality.*lossless"),
    ],
)
def test_unknown_values_are_refused(key: str, value: object, sentence: str) -> None:
    content = {"image_size": 32, "channels": 3, "resize": "pad", "normalize": "unit", key: value}
    with pytest.raises(UserError, match=sentence):
        parse(PreprocessParams, content, "preprocess")


def test_an_image_that_fails_is_named(raw: Path) -> None:
    manifest = Manifest.read(raw)
    with (raw / manifest.shard[12]).open("r+b") as file:
        file.seek(int(manifest.offset[12]))
        file.write(b"broken")
    with pytest.raises(UserError, match=f"image '{manifest.id[12]}'"):
        run(raw, ENCODED)
