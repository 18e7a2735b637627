"""Sets beyond 8 bits, from the files to the model in use: one range, that of the train split."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from classifier.core.errors import UserError
from classifier.core.resize import to_array
from classifier.core.types import AnyArray
from classifier.dataset.prepared import PreparedData
from classifier.evaluation.evaluate import _check
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.inference.inputs import InputImage
from classifier.inference.open_predictor import open_predictor
from classifier.inference.predict import predict
from classifier.inference.predictor import Predictor
from classifier.inference.torch_backend import TorchPredictor
from classifier.models import model_file
from classifier.models.registry import ModelParams, build
from classifier.models.spec import described, from_description, read_spec
from classifier.preprocessing.automatic import automatic_channels
from classifier.preprocessing.params import PreprocessParams
from classifier.preprocessing.prepare import prepare
from classifier.training.transfer import plan
from tests.sources.test_download import take
from tests.support.image_files import png16, tiff

CLASSES = ["plain", "square"]
TWELVE_BITS = {"integer": (0, 4095)}


def values(seed: int, square: bool) -> AnyArray:
    """A 12-bit image of noise, with or without a brighter square; no high byte is above 15."""
    found = np.random.default_rng(seed).integers(0, 2600, (12, 12))
    found[3:9, 3:9] += 1400 * square
    return found.astype(np.uint16)


def files(root: Path, make: Callable[[AnyArray], bytes] = png16, suffix: str = "png") -> Path:
    for seed in range(24):
        path = root / CLASSES[seed % 2] / f"{seed:02}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make(values(seed, seed % 2 == 1)))
    return root


def prepared(root: Path, folder: Path) -> PreparedData:
    take(root, folder / "raw")
    manifest = Manifest.read(folder / "raw")
    division = np.array(["train", "train", "val", "test"])[np.arange(len(manifest)) % 4]
    params = PreprocessParams("auto", "auto", "squash", "standardize", workers=1)
    return prepare(folder / "raw", manifest, division, CLASSES, params, folder / "prepared")


def see_through(array: AnyArray) -> AnyArray:
    """As color and alpha; its lowest row is transparent, and white below that."""
    values, alpha = np.dstack([array, array // 2, array // 3]), np.full_like(array, 65535)
    values[-1], alpha[-1] = 65535, 0
    return np.dstack([values, alpha])


@pytest.mark.parametrize(
    ("make", "suffix", "expected"),
    [
        (png16, "png", (0, 4095)),
        (tiff, "tif", (0, 4095)),
        (lambda array: tiff(array, order=">"), "tif", (0, 4095)),
        (lambda array: png16(np.dstack([array, array // 2, array // 3])), "png", (0, 4095)),
        (lambda array: png16(np.dstack([array, np.full_like(array, 65535)])), "png", (0, 4095)),
        (lambda array: png16(see_through(array)), "png", (0, 4095)),
        (lambda array: png16(see_through(array)[..., [0, 3]]), "png", (0, 4095)),
        (lambda array: tiff(see_through(array), extra=2), "tif", (0, 4095)),
        (lambda array: tiff(see_through(array), extra=1), "tif", (0, 4095)),
        (lambda array: png16(array // 20), "png", (0, 255)),
        (lambda array: tiff(array.astype(np.int16) - 1024), "tif", (-1024, 2970)),
        (lambda array: tiff((array / 4096).astype(np.float32)), "tif", (0, 1)),
        (lambda array: tiff((array - 900.0).astype(np.float32)), "tif", (-900, 3090)),
    ],
    ids=[
        "png",
        "tiff",
        "big-endian",
        "color",
        "alpha",
        "transparent",
        "transparent gray",
        "transparent tiff",
        "premultiplied",
        "8 bits",
        "signed",
        "unit",
        "float",
    ],
)
def test_no_image_goes_black(
    make: Callable[[AnyArray], bytes], suffix: str, expected: tuple[float, float], tmp_path: Path
) -> None:
    data = prepared(files(tmp_path / "in", make, suffix), tmp_path)
    (found,) = data.meta["value_range"].values()
    assert found == pytest.approx(expected, abs=6)
    manifest = Manifest.read(tmp_path / "raw")
    assert len(set(manifest.content.tolist())) == 24
    assert len(set(manifest.phash.tolist())) > 12
    for split in data.splits:
        images = data.images(split)[:].astype(int)
        assert len(np.unique(images)) > 100
        square = images[data.labels(split) == 1]
        # The class shows as before: the square is brighter by about a third of the whole range.
        contrast = square[:, 3:9, 3:9, 0].mean() - square[:, :3, :, 0].mean()
        assert 60 < contrast < 130


def test_only_the_train_split_is_looked_at(tmp_path: Path) -> None:
    data = prepared(files(tmp_path / "in"), tmp_path / "one")
    last = sorted((tmp_path / "in").rglob("*.png"), key=lambda path: path.as_posix())[3]
    assert data.ids("test")[0] == last.relative_to(tmp_path / "in").as_posix()
    last.write_bytes(png16(values(99, True) * 16))
    again = prepared(tmp_path / "in", tmp_path / "two")
    assert again.meta["value_range"] == data.meta["value_range"] == {"integer": [0, 4095]}
    assert np.array_equal(again.images("train"), data.images("train"))
    assert (again.images("test")[0] == 255).mean() > 0.9


def test_sets_of_8_bits_say_nothing_of_it(tmp_path: Path) -> None:
    from PIL import Image

    root = files(tmp_path / "in", lambda array: b"")
    for path in root.rglob("*.png"):
        Image.fromarray((values(int(path.stem), False) >> 4).astype(np.uint8)).save(path)
    data = prepared(root, tmp_path)
    assert "value_range" not in data.meta
    spec = plan(ModelParams("cnn"), data.meta)
    assert spec.value_range == {}
    assert "value_range" not in described(spec)
    assert from_description(described(spec)) == spec


def test_images_that_show_nothing_tell_no_range(tmp_path: Path) -> None:
    root = files(tmp_path / "in", lambda array: png16(see_through(array)))
    clear = np.full((12, 12, 4), 65535, np.uint16)
    clear[..., 3] = 0
    for path in sorted(root.rglob("*.png"))[::4]:
        path.write_bytes(png16(clear))
    assert prepared(root, tmp_path).meta["value_range"] == {"integer": [0, 4095]}


@pytest.mark.parametrize("make", [png16, lambda array: png16(see_through(array))])
def test_a_range_that_train_does_not_show_is_asked_for(
    make: Callable[[AnyArray], bytes], tmp_path: Path
) -> None:
    from PIL import Image

    root = files(tmp_path / "in", make)
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        if number % 4 != 3:
            Image.fromarray((values(number, False) >> 4).astype(np.uint8)).save(path)
    with pytest.raises(UserError, match=r"plain/06.png'.*low bits.*8 bits"):
        prepared(root, tmp_path)


@pytest.fixture(params=[png16, lambda array: png16(see_through(array)[..., [0, 3]])])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, PreparedData]:
    data = prepared(files(tmp_path / "in", request.param), tmp_path)
    params = ModelParams("cnn")
    spec = plan(params, data.meta)
    torch.manual_seed(0)
    network = build("cnn", spec.args, classes=2, channels=1, image_size=12)
    path = tmp_path / "model.safetensors"
    model_file.save(path, network, spec)
    return path, data


def test_the_model_file_keeps_it(model: tuple[Path, PreparedData]) -> None:
    path, data = model
    spec = read_spec(path)
    assert spec.value_range == TWELVE_BITS
    _check(spec, data)
    with pytest.raises(UserError, match="value_range differs"):
        _check(dataclasses.replace(spec, value_range={}), data)


def answers(predictor: Predictor, data: PreparedData, root: Path) -> None:
    """Predicting the files must be predicting the prepared rows."""
    named = data.ids("test")
    found = list(predict(predictor, [InputImage(name, str(root / name)) for name in named], 1))
    assert [one.problem for one in found] == [""] * len(named)
    rows = data.images("test")[:]
    for one, row in zip(found, rows, strict=True):
        assert np.array_equal(one.pixels, row)
    expected = predictor.probabilities(rows)
    np.testing.assert_allclose([one.probabilities for one in found], expected, atol=1e-5)


def test_predict_reads_files_as_training_did(
    model: tuple[Path, PreparedData], tmp_path: Path
) -> None:
    path, data = model
    answers(TorchPredictor(path, "cpu"), data, tmp_path / "in")


def test_an_exported_file_keeps_it(model: tuple[Path, PreparedData], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path, data = model
    predictor = open_predictor(path, "onnx", 1)
    assert predictor.spec == read_spec(path)
    answers(predictor, data, tmp_path / "in")


def test_originals_are_shown_to_the_graph_in_the_same_range(
    model: tuple[Path, PreparedData], tmp_path: Path
) -> None:
    from classifier.inference.export_check import originals

    path, data = model
    spec = dataclasses.replace(read_spec(path), image_size=8)
    found = list(originals(tmp_path / "raw", data, "test", spec, 4))
    assert len(found) > 3
    for ready, whole in found:
        assert ready.shape == (8, 8, 1)
        assert whole.max() > 100  # of the upper eight bits alone, at most 15


def test_serve_reads_uploads_as_training_did(
    model: tuple[Path, PreparedData], tmp_path: Path
) -> None:
    pytest.importorskip("fastapi")
    from classifier.serve.limits import Limits
    from classifier.serve.uploads import pixels

    path, data = model
    spec = read_spec(path)
    for name, row in zip(data.ids("test"), data.images("test"), strict=True):
        assert np.array_equal(pixels((tmp_path / "in" / name).read_bytes(), spec, Limits()), row)


def test_an_ensemble_keeps_it_and_refuses_a_member_without(
    model: tuple[Path, PreparedData], tmp_path: Path
) -> None:
    from classifier.experiments.ensemble import Combination, save_model

    path, _ = model
    combination = Combination("mean", np.full(2, 0.5, np.float32))
    save_model(tmp_path / "both.safetensors", [path, path], combination, [])
    assert read_spec(tmp_path / "both.safetensors").value_range == TWELVE_BITS
    network, spec = model_file.load(path)
    other = tmp_path / "other.safetensors"
    model_file.save(other, network, dataclasses.replace(spec, value_range={}))
    with pytest.raises(UserError, match="value_range"):
        save_model(tmp_path / "both.safetensors", [path, other], combination, [])


def test_16_bit_color_and_gray_with_alpha_have_their_channels() -> None:
    assert automatic_channels(pd.Categorical(["RGB;16"])) == 3
    assert automatic_channels(pd.Categorical(["RGBA;16", "L"])) == 3
    assert automatic_channels(pd.Categorical(["LA;16", "I;16", "F"])) == 1


def test_a_model_of_8_bits_says_what_it_cannot_know() -> None:
    dark = png16(values(0, False))
    for data in (dark, png16(see_through(values(0, False)))):
        with pytest.raises(ValueError, match="low bits"):
            decode(data)
    full = png16(values(0, False) * 16)
    image = to_array(decode(full), 12, 1)
    assert np.array_equal(image[..., 0], values(0, False) >> 4)
