"""Predicting files: every kind of path, every kind of output, and what is broken left out."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier import cli, picture_list
from classifier.errors import UserError
from classifier.modelfile import ModelSpec
from classifier.picture_list import Picture, pictures
from classifier.predict import BATCH, predict
from classifier.prediction_files import best, percent
from tests.workspace import Workspace

TEN = tuple("0123456789")


class Brightness:
    """A predictor whose answer is plain to see: the brighter the picture, the higher its class."""

    backend = "test"
    spec = ModelSpec("none", {}, TEN, 1, 8, "squash", (0.0,), (1.0,))

    def __init__(self) -> None:
        self.batches: list[int] = []

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        self.batches.append(len(pictures))
        places = pictures.reshape(len(pictures), -1).mean(axis=1) / 25.6
        return np.eye(10, dtype=np.float32)[places.astype(int)]

    def heat(self, pictures: np.ndarray, targets: Sequence[int]) -> None:
        return None


def gray(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for number in range(10):
        gray(root / ("b" if number % 2 else "a") / f"{number}.png", 10 + 25 * number)
    (root / "notes.txt").write_text("no picture")
    return root


def names(found: Iterator[Picture], root: Path) -> list[str]:
    return [os.path.relpath(picture.path, root) for picture in found]


def test_a_folder_is_searched_in_the_order_of_names(folder: Path) -> None:
    expected = [f"a/{n}.png" for n in (0, 2, 4, 6, 8)] + [f"b/{n}.png" for n in (1, 3, 5, 7, 9)]
    assert names(pictures([str(folder)]), folder) == expected
    assert names(pictures([f"{folder}/**/[78].png"]), folder) == ["a/8.png", "b/7.png"]
    both = names(pictures([f"{folder}/b/1.png", f"{folder}/a"]), folder)
    assert both == ["b/1.png", *expected[:5]]


def test_a_folder_larger_than_a_block_is_complete(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_list, "_BLOCK", 2)
    assert len(set(pictures([str(folder)]))) == 10


def test_a_table_names_pictures_with_or_without_their_extension(folder: Path) -> None:
    (folder / "test.csv").write_text("id;note\na/4;x\nb/3.png;y\nb/77;z\n")
    found = list(pictures([str(folder / "test.csv")]))
    assert [picture.name for picture in found] == ["a/4", "b/3.png", "b/77"]
    assert [Path(picture.path).exists() for picture in found] == [True, True, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: "nowhere", "nowhere does not exist"),
        (lambda root: str((root / "empty").mkdir() or root / "empty"), "no pictures there"),
        (lambda root: f"{root}/*.webp", "check the pattern"),
        (lambda root: str((root / "t.csv").write_text("x,y\n1,2\n") and root / "t.csv"), "x, y"),
        (lambda root: str((root / "t.csv").write_text("id\n") and root / "t.csv"), "has no rows"),
    ],
)
def test_a_wrong_path_is_named(folder: Path, make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(pictures([make(folder)]))  # type: ignore[operator]


def test_answers_come_in_order_around_what_is_broken(tmp_path: Path) -> None:
    for number in range(200):
        gray(tmp_path / f"{number:03}.png", (number * 7) % 250, (8 + number % 5, 9))
    (tmp_path / "100.png").write_bytes(b"not a picture")
    (tmp_path / "101.png").write_bytes((tmp_path / "102.png").read_bytes()[:50])
    (tmp_path / "103.png").unlink()
    os.mkfifo(tmp_path / "103.png")
    predictor = Brightness()
    listed = [Picture(f"{n:03}", str(tmp_path / f"{n:03}.png")) for n in range(200)]
    found = list(predict(predictor, listed, workers=1))
    assert [answer.picture.name for answer in found] == [f"{n:03}" for n in range(200)]
    assert [answer.picture.name for answer in found if answer.problem] == ["100", "101", "103"]
    for number, answer in enumerate(found):
        if answer.probabilities is not None:
            assert answer.probabilities.argmax() == int((number * 7) % 250 / 25.6)
    assert max(predictor.batches) <= BATCH


def test_no_more_pictures_are_held_than_are_under_way(tmp_path: Path) -> None:
    path = str(gray(tmp_path / "0.png", 100))
    asked = 0

    def endless() -> Iterator[Picture]:
        nonlocal asked
        while True:
            asked += 1
            yield Picture(str(asked), path)

    answers = predict(Brightness(), endless(), workers=1)
    for _ in range(500):
        next(answers)
    assert asked <= 512 + 2 * BATCH


def test_probabilities_read_well() -> None:
    assert percent(0.99999) == ">99.9 %"
    assert percent(1.0) == "100.0 %"
    assert best(np.array([0.2, 0.4, 0.4]), "abc", 2) == [("b", 0.4), ("c", 0.4)]


@pytest.fixture
def project(
    finished: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[str]]:
    """The first 20 test digits as files, and the classes that evaluate gave them."""
    monkeypatch.chdir(finished.path)
    images = np.load("data/prepared/test.npy")[:20]
    for row, pixels in enumerate(images):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(pixels[:, :, 0]).save(tmp_path / "in" / f"{row:02}.png")
    with Path("data/predictions/predictions.csv").open() as file:
        return tmp_path, [row["predicted"] for row in csv.DictReader(file)][:20]


def test_every_output_says_what_evaluate_said(
    project: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, expected = project
    whole = (root / "in" / "00.png").read_bytes()
    (root / "in" / "broken.png").write_bytes(whole[: len(whole) * 2 // 3])
    outputs = [
        "--out", str(root / "o.csv"), "--gallery", str(root / "g.html"),
        "--submission", str(root / "s.csv"), "--submission-columns", "ImageId,Label",
    ]  # fmt: skip
    assert cli.main(["predict", str(root / "in"), "--rev", "main", *outputs]) == 1
    captured = capsys.readouterr()
    assert "broken.png: skipped, damaged or cut off" in captured.err
    assert "1 of 21 pictures were skipped." in captured.err
    printed = [line.split() for line in captured.out.splitlines() if ".png" in line]
    assert [line[1] for line in printed] == expected

    with (root / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == expected
    assert all(float(row["probability"]) >= float(row["probability_3"]) for row in rows)
    with (root / "s.csv").open() as file:
        answers = list(csv.reader(file))
    assert answers == [["ImageId", "Label"], *([f"{n:02}", expected[n]] for n in range(20))]
    page = (root / "g.html").read_text()
    assert page.count("data:image/png;base64,") == 20
    assert "http" not in page

    files = ["--out", str(root / "o.json"), "--gallery", str(root / "g.png"), "--top", "2"]
    assert cli.main(["predict", f"{root}/in/*.png", *files]) == 1
    content = json.loads((root / "o.json").read_text())
    assert [entry["classes"][0]["class"] for entry in content[:20]] == expected
    assert all(len(entry["classes"]) == 2 for entry in content[:20])
    assert content[20]["error"].startswith("damaged or cut off")
    with Image.open(root / "g.png") as drawn:
        assert min(drawn.size) > 300


def test_a_contest_that_wants_probabilities_gets_them(project: tuple[Path, list[str]]) -> None:
    root, _ = project
    (root / "test.csv").write_text("image\n" + "".join(f"{n:02}\n" for n in range(5)))
    asked = ["--image-folder", str(root / "in"), "--submission", str(root / "s.csv")]
    table = str(root / "test.csv")
    assert cli.main(["predict", table, *asked, "--submission-probabilities"]) == 0
    with (root / "s.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", *TEN]
    assert [row[0] for row in rows[1:]] == [f"{n:02}" for n in range(5)]
    for row in rows[1:]:
        assert sum(map(float, row[1:])) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png does not exist"),
        (["in", "--model", "no.safetensors"], "check --model"),
        (["in", "--rev", "no-such"], "no revision or experiment 'no-such'"),
        (["in", "--out", "x.txt"], ".csv or .json"),
        (["in", "--gallery", "x.gif"], ".png or .html"),
        (["in", "--submission-columns", "one"], "two names"),
        (["in", "--top", "0"], "--top"),
    ],
)
def test_mistakes_get_one_sentence_and_leave_nothing(
    project: tuple[Path, list[str]],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, _ = project
    arguments = [str(root / "in") if item == "in" else item for item in arguments]
    before = sorted(Path.cwd().iterdir())
    assert cli.main(["predict", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(Path.cwd().iterdir()) == before
