"""Classes of every source: names that are doubtful are told, and none is lost in silence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.sources import classes
from classifier.sources.source_index import Rejected
from tests.sources.test_archive import pack
from tests.sources.test_download import classes as classes_of
from tests.sources.test_download import folder_of, image, take

RAW = b"II*\0" + bytes(300)  # a camera's own format


def as_folder(root: Path, names: list[str]) -> tuple[str, Path]:
    for seed, name in enumerate(names):
        image(root / name / "1.png", seed)
    return "folder", root


def as_table(root: Path, names: list[str]) -> tuple[str, Path]:
    for seed, _ in enumerate(names):
        image(root / f"{seed}.png", seed)
    rows = [f"{seed}.png,{name}" for seed, name in enumerate(names)]
    (root / "train.csv").write_text("\n".join(["image,label", *rows]), encoding="utf-8")
    return "csv", root


def as_archive(root: Path, names: list[str]) -> tuple[str, Path]:
    as_folder(root, names)
    return "archive", pack(root.with_suffix(".zip"), root)


def as_table_in_archive(root: Path, names: list[str]) -> tuple[str, Path]:
    as_table(root, names)
    return "archive", pack(root.with_suffix(".tar"), root)


@pytest.mark.parametrize("source", [as_folder, as_table, as_archive, as_table_in_archive])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["cat", "Cat", "dog"], ["'Cat', 'cat' differ in letter case only"]),
        (["caf\u00e9", "cafe\u0301", "dog"], ["differ in Unicode form only"]),
        (["ice  cream", "ice cream", "dog"], ["differ in blanks or characters that are not seen"]),
        (["ice\u00a0cream", "ice cream", "dog"], ["differ in blanks"]),
        (["cat\u200b", "cat", "dog"], ["differ in blanks or characters that are not seen"]),
        (["ice_cream", "Ice cream", "dog"], ["differ in letter case or blanks only"]),
        (["nan", "dog"], ["class 'nan' reads as if there was no label"]),
        (["None", "NULL", "empty", "N_A", "dog"], ["class 'NULL', 'None', 'empty' reads"]),
        (["cat", "dog", "-1", "1", "1-1", "11", "nancy"], []),
    ],
)
def test_doubtful_names_are_told(
    tmp_path: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    source: Callable[[Path, list[str]], tuple[str, Path]],
    names: list[str],
    words: list[str],
) -> None:
    kind, path = source(tmp_path / "in", names)
    take(path, out, source=kind)
    assert classes_of(out) == sorted(names)
    lines = capsys.readouterr().err.splitlines()
    assert [word for word, line in zip(words, lines, strict=True) if word not in line] == []
    assert all(line.startswith("warning: ") for line in lines)


def test_many_doubtful_names_take_few_lines() -> None:
    letters = [chr(65 + number) for number in range(26)]
    found = classes.doubts([*letters, *map(str.lower, letters)])
    assert len(found) == 4
    assert found[-1].startswith("23 more")


def test_names_of_splits_are_no_classes(tmp_path: Path, out: Path) -> None:
    kind, path = as_table(tmp_path / "in", ["train", "test", "val"])
    with pytest.raises(UserError, match="names of splits: check where the labels come from"):
        take(path, out, source=kind)


@pytest.mark.parametrize("source", [as_folder, as_table, as_archive])
def test_a_class_of_other_formats_is_not_lost(
    tmp_path: Path, out: Path, source: Callable[[Path, list[str]], tuple[str, Path]]
) -> None:
    root = tmp_path / "in"
    for number in range(100):
        image(root / f"dog/{number}.png", number)
        image(root / f"cat/{number}.png", 100 + number)
    (root / "owl").mkdir()
    for number in range(2):
        (root / f"owl/IMG_{number}.CR2").write_bytes(RAW)
    if source is as_table:
        rows = [f"{path.relative_to(root)},{path.parent.name}" for path in root.glob("*/*")]
        (root / "train.csv").write_text("\n".join(["image,label", *rows]))
        kind, path = "csv", root
    else:
        kind, path = source(root, [])
    with pytest.raises(UserError) as caught:
        take(path, out, source=kind, max_rejected=0.5)
    message = str(caught.value)
    assert message.startswith("class 'owl': none of its 2 files can be used (2: .cr2 is not a")
    assert "magick mogrify -format png *.cr2" in message
    assert "owl/IMG_" in message


def test_a_class_is_not_lost_where_one_other_is_left(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "cat/2.png")
    (root / "owl").mkdir()
    (root / "owl" / "1.cr2").write_bytes(RAW)
    with pytest.raises(UserError, match="class 'owl': none of its 1 files can be used"):
        take(root, out, max_rejected=1)


def test_a_class_is_not_lost_from_the_test_set(tmp_path: Path, out: Path) -> None:
    names = [f"{part}/{name}/1.png" for part in ("train", "test") for name in ("cat", "dog")]
    root = folder_of(tmp_path / "in", *names, "train/cat/2.png")
    (root / "test/dog/1.png").write_bytes(b"broken")
    with pytest.raises(UserError, match="class 'dog' of test: none of its 1 files can be used"):
        take(root, out, max_rejected=1)
    (root / "test/dog/1.png").unlink()
    (root / "train/cat/1.png").write_bytes(b"broken")
    assert take(root, out, max_rejected=1).rejected == 1


def test_the_sentence_on_lost_classes_is_short() -> None:
    rejected = [Rejected(str(n), f"{n}.png", f"reason {n % 5}", f"c{n % 50}") for n in range(1000)]
    with pytest.raises(UserError) as caught:
        classes.check_kept([], rejected)
    assert len(str(caught.value)) < 300
    assert "and 46 more" in str(caught.value)
