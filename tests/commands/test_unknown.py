"""`unknown` on the finished default run: noise is told from digits, and other data are refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier import cli
from classifier.experiments.revisions import Revision
from classifier.inference.torch_backend import TorchPredictor
from classifier.models import decision
from classifier.models.decision import Decision
from tests.support import workspace
from tests.support.workspace import Workspace


@pytest.fixture
def shuffled(finished: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pixels of test digits in disorder: images of no class with the same brightness."""
    monkeypatch.chdir(finished.path)
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(np.load("data/prepared/test.npy")[:60]):
        pixels = generator.permutation(image.reshape(-1)).reshape(image.shape[:2])
        Image.fromarray(pixels).save(tmp_path / f"images/{number:02}.png")
    return tmp_path / "images"


@pytest.fixture
def project(
    shuffled: Path, finished: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A copy of the finished run to change, as the working directory."""
    copied = workspace.copy(finished, tmp_path / "project")
    monkeypatch.chdir(copied.path)
    return copied


def test_every_score_tells_noise_from_digits(
    shuffled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["unknown", str(shuffled), "--accept", "0.9"]) == 0
    printed = capsys.readouterr().out
    assert "60 images of no class, 359 test images of a class" in printed
    lines = printed.splitlines()
    rows = [line for line in lines if "(" in line]
    assert {word for row in rows for word in row.split()} >= {"energy", "probability", "distance"}
    areas = [float(row.split("(")[0].split()[-1]) for row in rows]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] > 0.8
    assert "90.0%" in printed


def test_the_answers_of_another_model_are_refused(
    project: Workspace, shuffled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embeddings = project.path / "data/predictions/embeddings.npz"
    with np.load(embeddings) as kept:
        changed = dict(kept) | {"model": np.array("0" * 64)}
    embeddings.chmod(0o644)
    embeddings.unlink()
    np.savez(embeddings, **changed)
    assert cli.main(["unknown", str(shuffled)]) == 1
    assert "is of another model: run dvc repro evaluate" in capsys.readouterr().err


@pytest.mark.parametrize("accept", ["0", "1", "95"])
def test_a_fraction_is_a_fraction(accept: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["unknown", ".", "--accept", accept]) == 1
    assert "give a fraction between 0 and 1" in capsys.readouterr().err


@pytest.mark.usefixtures("project")
def test_what_passes_the_not_sure_threshold_is_counted_too(
    shuffled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["unknown", str(shuffled)]) == 0
    assert "not sure" not in capsys.readouterr().out
    rule = Decision(not_sure_below=0.97)
    decision.write(Path("models/model.safetensors"), rule)
    assert cli.main(["unknown", str(shuffled), "--store", "known.safetensors"]) == 0
    printed = capsys.readouterr().out
    table = printed[printed.index("not *not sure*, below 0.97") :]
    line = next(line for line in table.splitlines() if line.startswith("the highest probability"))
    predictor = TorchPredictor("known.safetensors")
    batches = [
        np.load("data/prepared/test.npy"),
        np.stack([np.asarray(Image.open(path)) for path in shuffled.iterdir()])[..., None],
    ]
    sure = [float((predictor.probabilities(b).max(axis=1) >= 0.97).mean()) for b in batches]
    assert [f"{fraction:.1%}" for fraction in sure] == line.split()[3:5]
    stored = predictor.spec.decision
    assert stored is not None
    assert stored.not_sure_below == 0.97
    assert stored.known_by is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--by", "energy"], "--by is for --store"),
        (["--store", "known.onnx"], "ends in .safetensors"),
        (["--store", "models/model.safetensors"], "is the model itself"),
    ],
)
def test_a_wrong_place_to_store_is_refused(
    shuffled: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["unknown", str(shuffled), *options]) == 1
    assert words in capsys.readouterr().err
    assert not Path("known.onnx").exists()


def test_answers_with_and_without_test_time_augmentation_are_not_mixed(
    shuffled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Revision, "params", {"evaluate.test_time_augmentation": False})
    original = TorchPredictor.__init__

    def mirrored(self: TorchPredictor, *args: object, **options: object) -> None:
        original(self, *args, **options)  # type: ignore[arg-type]
        self.network.test_time_augmentation = "mirror"

    monkeypatch.setattr(TorchPredictor, "__init__", mirrored)
    assert cli.main(["unknown", str(shuffled)]) == 1
    assert "evaluate.test_time_augmentation is false" in capsys.readouterr().err
