"""Predicting files: every kind of path, every kind of output, and what is broken left out."""

import csv
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier import cli
from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.inference import inputs
from classifier.inference.inputs import InputImage, images
from classifier.inference.outputs import best, out, percent, submission, table
from classifier.inference.predict import BATCH, BATCH_BYTES, MULTIPLE, Answer, predict
from classifier.models.spec import ModelSpec
from tests.sources.test_download import rejected, take
from tests.support.workspace import Workspace

TEN = tuple("0123456789")


class Brightness:
    """A predictor whose answer is plain to see: the brighter the image, the higher its class."""

    backend = "test"
    spec = ModelSpec("none", {}, TEN, 1, 8, Resize(), (0.0,), (1.0,))

    def __init__(self) -> None:
        self.batches: list[int] = []

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self.scored(images)[:, :-1]

    def scored(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        places = images.reshape(len(images), -1).mean(axis=1) / 25.6
        return np.eye(10, 11, dtype=np.float32)[places.astype(int)]

    def heat(self, images: np.ndarray, targets: Sequence[int]) -> None:
        return None


def gray(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for number in range(10):
        gray(root / ("b" if number % 2 else "a") / f"{number}.png", 10 + 25 * number)
    (root / "notes.txt").write_text("no image")
    return root


def names(found: Iterator[InputImage], root: Path) -> list[str]:
    return [os.path.relpath(image.path, root) for image in found]


def test_a_folder_is_searched_in_the_order_of_names(folder: Path) -> None:
    expected = [f"a/{n}.png" for n in (0, 2, 4, 6, 8)] + [f"b/{n}.png" for n in (1, 3, 5, 7, 9)]
    assert names(images([str(folder)]), folder) == expected
    assert names(images([f"{folder}/**/[78].png"]), folder) == ["a/8.png", "b/7.png"]
    both = names(images([f"{folder}/b/1.png", f"{folder}/a"]), folder)
    assert both == ["b/1.png", *expected[:5]]


def test_a_folder_is_read_by_the_rules_of_training(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "__MACOSX/0.png", ".cache/0.png", "notes.md"):
        (folder / "a" / name).parent.mkdir(exist_ok=True)
        (folder / "a" / name).write_bytes(b"x")
    for number, name in enumerate(("a/IMG_1.CR2", "a/paper.pdf", "b/no_extension", "b/x.dat")):
        gray(tmp_path / "new.png", 10 * number).rename(folder / name)
    (folder / "b" / os.fsdecode(b"\xff.png")).write_bytes((folder / "a/0.png").read_bytes())
    assert set(images([f"{folder}/**"])) == set(images([str(folder)]))
    gray(tmp_path / "elsewhere" / "l.png", 200)
    links = [folder / "a" / "link", folder / "a" / "back"]
    links[0].symlink_to(tmp_path / "elsewhere")
    links[1].symlink_to(folder)
    found = list(images([str(folder)]))
    for link in links:
        link.unlink()
    usual = [f"{folder}/{'b' if n % 2 else 'a'}/{n}.png" for n in range(10)]
    whole = [*usual, f"{folder}/b/no_extension", f"{folder}/a/link/l.png"]
    assert sorted(p.path for p in found if not p.problem) == sorted(whole)
    problems = {p.name.removeprefix(f"{folder}/"): p.problem for p in found if p.problem}
    assert set(problems) == {"a/IMG_1.CR2", "a/paper.pdf", "b/x.dat", "b/\\udcff.png"}
    assert problems["a/IMG_1.CR2"].startswith(".cr2 is not an image format that can be read")
    # What training refuses by its name, predict refuses for the same reason, and nothing else.
    take(folder, tmp_path / "raw", max_rejected=1.0)
    assert {f"{folder}/{name}": why for name, why in problems.items()} == rejected(tmp_path / "raw")


def test_hidden_files_are_taken_where_they_are_written_out(folder: Path) -> None:
    (folder / ".mine").mkdir()
    gray(folder / ".mine" / "1.png", 100)
    gray(folder / ".mine" / ".2.png", 100)
    assert names(images([f"{folder}/.mine"]), folder) == [".mine/1.png"]
    assert names(images([f"{folder}/.mine/*.png"]), folder) == [".mine/1.png"]
    assert names(images([f"{folder}/.mine/.2.png"]), folder) == [".mine/.2.png"]


def test_folders_may_be_nested_deeply(folder: Path) -> None:
    inner = f"{folder}/b"
    for _ in range(1200):
        inner += "/d"
        Path(inner).mkdir()
    gray(folder / "1.png", 100).rename(f"{inner}/1.png")
    found = list(images([f"{folder}/b/d"]))
    subprocess.run(["rm", "-r", f"{folder}/b/d"], check=True)  # shutil.rmtree is recursive
    assert [image.path for image in found] == [f"{inner}/1.png"]


def test_a_folder_that_cannot_be_opened_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list(images([str(folder)]))
    assert [p.name for p in found if p.problem] == [f"{folder}/b"]
    assert found[-1].problem == "cannot be read (Permission denied)"
    assert len(found) == 6


def test_a_folder_larger_than_a_block_is_complete(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_BLOCK", 2)
    assert len(set(images([str(folder)]))) == 10


def test_a_table_names_images_with_or_without_their_extension(folder: Path) -> None:
    (folder / "test.csv").write_text("id;note\na/4;x\nb/3.png;y\nb/77;z\n")
    found = list(images([str(folder / "test.csv")]))
    assert [image.name for image in found] == ["a/4", "b/3.png", "b/77"]
    assert [Path(image.path).exists() for image in found] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,image_path\n7,a/4.png\n8,b/3.png\n", ["a/4.png", "b/3.png"]),
        ("number,photo\n7,a/4.png\n8,b/3.png\n", ["a/4.png", "b/3.png"]),
        ("photo\na/4\n\nb/3\n", ["a/4", "b/3"]),
        ("id,note\na/4,x\n,y\nb/3,z\n", ["a/4", "row 3", "b/3"]),
    ],
)
def test_the_column_of_a_table_is_known_by_its_name_or_its_content(
    folder: Path, text: str, expected: list[str]
) -> None:
    (folder / "test.csv").write_text(text)
    found = list(images([str(folder / "test.csv")]))
    assert [image.name for image in found] == expected
    assert [bool(p.problem) for p in found] == [name.startswith("row") for name in expected]


def test_every_row_of_a_table_is_in_the_outputs(folder: Path, tmp_path: Path) -> None:
    (folder / "a" / "4.png").write_bytes(b"broken")
    (folder / "test.csv").write_text("id\nb/3\na/4\nmissing\nb/5\n")
    (folder / "paper.pdf").write_bytes(b"%PDF")
    answers = list(predict(Brightness(), images([str(folder / "test.csv"), str(folder)])))
    ways = {
        "o.csv": out(tmp_path / "o.csv", TEN, 2),
        "s.csv": submission(tmp_path / "s.csv", TEN, ["id", "label"], probabilities=False),
        "p.csv": submission(tmp_path / "p.csv", TEN, ["id", "label"], probabilities=True),
    }
    for name, way in ways.items():
        with way as sink:
            for answer in answers:
                sink(answer)
        with (tmp_path / name).open() as file:
            header, *rows = csv.reader(file)
        assert {len(row) for row in rows} == {len(header)}
        # Those of the table, then the nine of the folder that are whole.
        assert [row[0] for row in rows[:4]] == ["b/3", "a/4", "missing", "b/5"]
        assert [any(row[1:]) for row in rows] == [True, False, False, True] + [True] * 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: "nowhere", "nowhere does not exist"),
        (lambda root: str((root / "empty").mkdir() or root / "empty"), "no images there"),
        (lambda root: f"{root}/*.webp", "check the pattern"),
        (lambda root: str((root / "t.csv").write_text("x,y\n1,2\n") and root / "t.csv"), "x, y"),
        (lambda root: str((root / "t.csv").write_text("id\n") and root / "t.csv"), "has no rows"),
    ],
)
def test_a_wrong_path_is_named(folder: Path, make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(images([make(folder)]))  # type: ignore[operator]


def test_answers_come_in_order_around_what_is_broken(tmp_path: Path) -> None:
    for number in range(200):
        gray(tmp_path / f"{number:03}.png", (number * 7) % 250, (8 + number % 5, 9))
    (tmp_path / "100.png").write_bytes(b"not an image")
    (tmp_path / "101.png").write_bytes((tmp_path / "102.png").read_bytes()[:50])
    (tmp_path / "103.png").unlink()
    os.mkfifo(tmp_path / "103.png")
    predictor = Brightness()
    listed = [InputImage(f"{n:03}", str(tmp_path / f"{n:03}.png")) for n in range(200)]
    found = list(predict(predictor, listed, workers=1))
    assert [answer.image.name for answer in found] == [f"{n:03}" for n in range(200)]
    assert [answer.image.name for answer in found if answer.problem] == ["100", "101", "103"]
    for number, answer in enumerate(found):
        if answer.probabilities is not None:
            assert answer.probabilities.argmax() == int((number * 7) % 250 / 25.6)
    assert max(predictor.batches) <= BATCH


def test_the_network_sees_whole_blocks_alone(tmp_path: Path) -> None:
    path = gray(tmp_path / "0.png", 100)
    large = tmp_path / "large.png"  # larger than a batch's bytes; what follows an image is not read
    large.write_bytes(path.read_bytes() + bytes(BATCH_BYTES))
    for files in ([path], [path] * 33, [large] * 3, [large] * 9):
        predictor = Brightness()
        listed = [InputImage(str(number), str(file)) for number, file in enumerate(files)]
        found = [answer.image.name for answer in predict(predictor, listed, workers=1)]
        assert found == [image.name for image in listed]
        assert {size % MULTIPLE for size in predictor.batches} == {0}
        assert sum(predictor.batches) < len(files) + MULTIPLE


def test_no_answer_depends_on_the_images_beside_it(project: tuple[Path, list[str]]) -> None:
    root, _ = project

    def answers(*given: object) -> dict[str, tuple[str, ...]]:
        assert cli.main(["predict", *map(str, given), "--out", str(root / "o.csv")]) == 0
        with (root / "o.csv").open() as file:
            return {Path(row.pop("id")).name: tuple(row.values()) for row in csv.DictReader(file)}

    files = sorted((root / "in").iterdir())
    together = answers(root / "in")
    assert answers(*reversed(files)) == together
    for file in files[0], files[19]:
        assert answers(file) == {file.name: together[file.name]}


def test_no_more_images_are_held_than_are_under_way(tmp_path: Path) -> None:
    path = str(gray(tmp_path / "0.png", 100))
    asked = 0

    def endless() -> Iterator[InputImage]:
        nonlocal asked
        while True:
            asked += 1
            yield InputImage(str(asked), path)

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
    assert "1 of 21 images were skipped." in captured.err
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
    # Each image, and its three nearest training images.
    assert page.count("data:image/png;base64,") == 20 * (1 + 3)
    assert "alike among 1,294 training images" in page
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


def test_names_give_the_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    write = table(["\x1b[31mred\nline", "b"], top=2)
    image = InputImage("a\x1b]0;title\x07.png", "a.png")
    write(Answer(image, None, np.array([0.75, 0.25], np.float32)))
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert printed.rstrip("\n").isprintable()
    assert "75.0 %" in printed
