"""`embed`: the vectors are those that evaluate keeps; what cannot be read is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from classifier import cli
from classifier.core.resize import Resize
from classifier.models.model_file import save
from classifier.models.registry import build
from classifier.models.spec import ModelSpec

pytest.importorskip("pyarrow")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = build("cnn", {}, classes=3, channels=1, image_size=8).eval()
    spec = ModelSpec("cnn", {}, ("a", "b", "c"), 1, 8, Resize(), (0.5,), (0.25,))
    save(tmp_path / "model.safetensors", network, spec)
    return tmp_path / "model.safetensors"


def test_every_image_gets_what_the_last_layer_sees(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    pixels = generator.integers(0, 256, (50, 8, 8), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"images/{number:02}.png")
    (tmp_path / "images/25-broken.png").write_text("no image")
    out = tmp_path / "embeddings.parquet"
    assert cli.main(["embed", f"{tmp_path}/images", "--model", str(model), "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out == f"50 images, written to {out}\n"
    assert "25-broken.png: skipped, not an image" in said.err
    table = pd.read_parquet(out)
    assert [Path(name).stem for name in table["id"]] == [f"{n:02}" for n in range(50)]

    from classifier.inference.torch_backend import TorchPredictor

    predictor = TorchPredictor(model)
    logits, expected = predictor.seen(pixels[..., None])
    found = np.stack(list(table["vector"]))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    layer = predictor.network.last_linear
    again = layer(torch.from_numpy(found.copy())).detach().numpy()
    np.testing.assert_allclose(again, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("out", ["x.csv", "x"])
def test_another_kind_of_file_is_refused(
    model: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["embed", str(model.parent), "--model", str(model), "--out", out]) == 1
    assert "must end in .parquet" in capsys.readouterr().err


def test_nothing_is_written_where_no_image_could_be_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.png").write_text("no image")
    out = tmp_path / "x.parquet"
    arguments = [f"{tmp_path}/broken.png", "--model", str(model), "--out", str(out)]
    assert cli.main(["embed", *arguments]) == 1
    assert "no image could be read" in capsys.readouterr().err
    assert not out.exists()
