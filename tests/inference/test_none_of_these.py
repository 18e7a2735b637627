"""A model that knows what is of no class says so alike in predict, serve and ONNX, each image."""

import csv
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier import cli
from classifier.inference.onnx_backend import OnnxPredictor
from classifier.inference.torch_backend import TorchPredictor
from classifier.models.spec import read_spec
from tests.support.servers import serving
from tests.support.workspace import Workspace
from tools import ROOT

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytest.importorskip("onnx")

STRANGE, NAMED = 60, "none of these"


@dataclass(frozen=True)
class Stored:
    """A folder with the model, and with its rule in two formats; and what predict says of test
    digits and of shuffled ones, in order."""

    folder: Path
    by: str
    said: list[dict[str, str]]


@pytest.fixture(scope="module")
def images(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    digits = np.load(finished.path / "data/prepared/test.npy")
    for number, digit in enumerate(digits):
        _save(folder / f"digits/{number:03}.png", digit)
    for number, digit in enumerate(digits[:STRANGE]):
        pixels = generator.permutation(digit.reshape(-1)).reshape(digit.shape)
        _save(folder / f"shuffled/{number:03}.png", pixels)
    return folder


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path)


@pytest.fixture(scope="module", params=["probability", "energy", "distance"])
def stored(
    request: pytest.FixtureRequest,
    finished: Workspace,
    images: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stored:
    folder = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished.path)
        model = folder / "known.safetensors"
        command = ["unknown", str(images / "shuffled"), "--by", request.param]
        assert cli.main([*command, "--store", str(model)]) == 0
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        assert cli.main(["export", "--model", model.name, "--out", "known.onnx"]) == 0
        said = predicted(images, "known.safetensors")
    return Stored(folder, request.param, said)


def predicted(images: Path, model: str, *options: str) -> list[dict[str, str]]:
    command = ["predict", str(images / "digits"), str(images / "shuffled"), "--model", model]
    assert cli.main([*command, "--out", "found.csv", *options]) == 0
    with Path("found.csv").open() as file:
        return list(csv.DictReader(file))


def answers(rows: Sequence[dict[str, str]]) -> list[str]:
    return [row["answer"] for row in rows]


@pytest.fixture(autouse=True)
def inside(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stored.folder)


def test_it_is_said_of_most_shuffled_digits_and_of_few_others(stored: Stored) -> None:
    named = [answer == NAMED for answer in answers(stored.said)]
    assert sum(named[-STRANGE:]) > 0.8 * STRANGE
    assert 0 < sum(named[:-STRANGE]) < 0.1 * len(named[:-STRANGE])
    assert all(row["predicted"] in "0123456789" for row in stored.said)  # the first guesses
    assert all(row["answer"] in (row["predicted"], NAMED) for row in stored.said)


@pytest.mark.parametrize(
    "options",
    [
        ["known.onnx"],
        # The same export, as test_value_range.py checks of the values.
        pytest.param(["known.safetensors", "--backend", "onnx"], marks=pytest.mark.slow),
    ],
)
def test_onnx_says_what_torch_says(stored: Stored, images: Path, options: list[str]) -> None:
    assert answers(predicted(images, *options)) == answers(stored.said)


def test_the_score_itself_is_the_same(stored: Stored, images: Path) -> None:
    batch = np.stack([np.asarray(Image.open(path)) for path in images.glob("*/*.png")])[..., None]
    torch, onnx = TorchPredictor("known.safetensors"), OnnxPredictor("known.onnx")
    np.testing.assert_allclose(torch.scored(batch), onnx.scored(batch), atol=3e-5)
    np.testing.assert_array_equal(torch.probabilities(batch), torch.scored(batch)[:, :-1])
    if stored.by == "probability":
        np.testing.assert_array_equal(torch.scored(batch)[:, -1], torch.probabilities(batch).max(1))


@pytest.mark.parametrize(
    "model",
    # test_onnx_says_what_torch_says compares the two, and test_decisions.py serves an ONNX file.
    ["known.safetensors", pytest.param("known.onnx", marks=pytest.mark.slow)],
)
def test_serve_says_what_predict_says(stored: Stored, images: Path, model: str) -> None:
    paths = [path for name in ("digits", "shuffled") for path in sorted((images / name).iterdir())]
    found = []
    with serving(stored.folder, "--model", model) as server:
        decision = httpx.get(f"{server.url}/model").json()["decision"]
        assert decision["known_by"] == stored.by
        for start in range(0, len(paths), 64):
            form = [("pictures", (path.name, path.read_bytes())) for path in paths[start:][:64]]
            answer = httpx.post(f"{server.url}/predict", files=form, timeout=60)
            found += answer.json()["predictions"]
        broken = [("pictures", ("x.png", b"x")), ("pictures", ("0.png", paths[0].read_bytes()))]
        skipped, _ = httpx.post(f"{server.url}/predict", files=broken).json()["predictions"]
        assert (skipped["answer"], skipped["known"]) == (None, None)
    assert [one["answer"] if one["known"] else NAMED for one in found] == answers(stored.said)
    assert [one["classes"][0]["class"] for one in found] == [
        row["predicted"] for row in stored.said
    ]


def test_json_and_gallery_say_it_too(
    stored: Stored, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted(images, "known.onnx", "--gallery", "found.html")
    shown = answers(stored.said)[:300]  # as many are in a gallery
    assert Path("found.html").read_text().count("<b>none of these: ") == shown.count(NAMED)
    command = ["predict", str(images / "shuffled"), "--model", "known.onnx"]
    assert cli.main([*command, "--out", "found.json"]) == 0
    found = json.loads(Path("found.json").read_text())
    assert [one["answer"] if one["known"] else NAMED for one in found] == answers(
        stored.said[-STRANGE:]
    )
    assert all(len(one["classes"]) == 3 for one in found)
    capsys.readouterr()
    assert cli.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, answer in zip(lines, answers(stored.said[-STRANGE:]), strict=True):
        assert line.split(maxsplit=1)[1].startswith(answer)


def test_other_formats_take_the_rule_along(stored: Stored, images: Path) -> None:
    command = ["export", "--model", "known.safetensors"]
    assert cli.main([*command, "--format", "model", "--out", "again.safetensors"]) == 0
    assert Path("again.safetensors").read_bytes() == Path("known.safetensors").read_bytes()
    assert cli.main([*command, "--format", "torch-export", "--out", "known.pt2"]) == 0


def test_embeddings_are_held_for_distances_alone(stored: Stored) -> None:
    decision = read_spec("known.safetensors").decision
    assert decision is not None
    network = TorchPredictor("known.safetensors").network
    held = dict(network.named_buffers()).get("known_embeddings")
    if stored.by == "distance":
        assert held is not None
        assert len(held) == decision.known_images > 1000
    else:
        assert held is None
        assert decision.known_images == 0


def test_a_graph_without_the_score_is_refused(stored: Stored) -> None:
    import onnx

    model = onnx.load("known.onnx")
    shutil.copy("known.onnx", "cut.onnx")
    if stored.by == "probability":
        assert [output.name for output in model.graph.output] == ["probabilities"]
        return
    assert [output.name for output in model.graph.output] == ["probabilities", "known"]
    del model.graph.output[1]
    onnx.save(model, "cut.onnx")
    assert cli.main(["predict", "x", "--model", "cut.onnx"]) == 1
    with pytest.raises(Exception, match="its graph cannot be computed"):
        OnnxPredictor("cut.onnx")
