"""Names in tables meet their files however they are spelled, for training, test and predict."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from tests.sources.test_download import folder_of
from tests.sources.test_table import table, write
from tests.support.table_cases import (
    DISK,
    as_predicted,
    as_test,
    as_training,
    column,
    labelled,
    plain,
)


def stem(name: str) -> str:
    return name.rpartition(".")[0]


def with_ending(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda name: f"{stem(name)}.{change(name.rpartition('.')[2])}"


LONGER = {"jpg": "jpeg", "JPG": "jfif", "tif": "tiff"}

SPELLINGS: dict[str, tuple[Callable[[str], str], str]] = {
    "dot": (lambda name: f"./{name}", ""),
    "detour": (lambda name: f"nowhere/../{name}", ""),
    "backslash": (lambda name: name.replace("/", "\\"), ""),
    "dot backslash": (lambda name: ".\\" + name.replace("/", "\\"), ""),
    "blanks around": (lambda name: f"  {name} \u00a0", ""),
    "no extension": (stem, ""),
    "extension in capitals": (with_ending(str.upper), "letter case"),
    "capitals": (str.upper, "letter case"),
    "other extension": (with_ending(lambda ending: LONGER.get(ending, ending)), "extension"),
    "decomposed": (lambda name: unicodedata.normalize("NFD", name), "Unicode form"),
    "composed": (lambda name: unicodedata.normalize("NFC", name), "Unicode form"),
    "two blanks": (lambda name: name.replace(" ", "  "), "blanks"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_names_meet_their_files(
    root: Path, out: Path, spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spell, difference = SPELLINGS[spelling]
    rows = labelled(map(spell, DISK))
    write(root / "t.csv", plain(rows))
    expected = {name.strip(): label for name, label in rows}
    assert as_training(root, out, "t.csv") == expected
    content = column(out, "content")
    write(root / "u.csv", plain(labelled(DISK)))
    as_training(root, out, "u.csv")
    for name, written in zip(DISK, expected, strict=True):
        assert content[written] == column(out, "content")[name]
    assert as_test(root, out, "t.csv") == expected
    found = as_predicted(root, "t.csv")
    assert [Path(image.path) for image in found] == [root / name for name in DISK]
    assert [image.name for image in found] == list(expected)
    assert not any(image.problem for image in found)
    # Training, test and predict each say it once, and nothing if there is nothing to say.
    lines = [line for line in capsys.readouterr().err.splitlines() if "differ in" in line]
    kinds = {line.partition("differ in ")[2].partition(" (")[0] for line in lines}
    assert (kinds, len(lines)) == (({difference}, 3) if difference else (set(), 0))


def test_absolute_paths_meet_their_files(root: Path, out: Path, tmp_path: Path) -> None:
    write(root / "t.csv", plain(labelled(str(root / name) for name in DISK)))
    assert len(as_training(root, out, "t.csv")) == 8
    (tmp_path / "link").symlink_to(root)
    assert len(as_training(tmp_path / "link", out, "t.csv")) == 8
    assert not any(image.problem for image in as_predicted(root, "t.csv"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.bmp", "is not there, but a.png is: correct the name"),
        ("C:\\data\\a.png", "is a path of another computer"),
        ("/nowhere/data/a.png", "is a path of another computer"),
        ("https://example.org/a.png", "is an address"),
        ("._a.png", "is passed over, as hidden files are"),
        ("sub/__MACOSX/c.png", "is passed over, as hidden files are"),
        ("twin", "fits twin.jpg, twin.png: write the file's whole name"),
        ("TWIN", "fits twin.jpg, twin.png: write the file's whole name"),
        ("pair.PNG", "fits PAIR.png, pAIR.png: write the file's whole name"),
    ],
)
def test_names_that_do_not_meet_say_which_difference_it_is(
    root: Path, out: Path, name: str, sentence: str
) -> None:
    folder_of(root, "twin.png", "twin.jpg", "PAIR.png", "pAIR.png", "._a.png", "sub/__MACOSX/c.png")
    write(root / "t.csv", f"image,label\nz0.png,cat\n{name},dog\n")
    with pytest.raises(UserError) as refusal:
        as_training(root, out, "t.csv")
    assert f"row 3: {name} {sentence}" in str(refusal.value)
    good, bad = as_predicted(root, "t.csv")
    assert not good.problem
    if not name.startswith("/"):
        assert f"it {sentence}" in bad.problem.replace(f"{root}/", "")


def test_the_nearest_spelling_wins(root: Path, out: Path) -> None:
    folder_of(root, "Ö.png", "o\u0308.png", "n.jpg", "N.png", "n.jpeg")
    write(root / "t.csv", "image,label\n\u00f6,cat\nN.PNG,dog\nn.jpg,dog\n")
    assert len(as_training(root, out, "t.csv")) == 3
    found = [Path(image.path).name for image in as_predicted(root, "t.csv")]
    assert found == ["o\u0308.png", "N.png", "n.jpg"]


def test_files_elsewhere_are_named(root: Path, out: Path) -> None:
    write(root / "t.csv", "image,label\nimages/c.png,cat\nimages/d.jpg,dog\n")
    with pytest.raises(UserError, match=r"2 of 2 rows .*; there is sub/c.png\).*image_folder"):
        as_training(root, out, "t.csv")
    assert "--image-folder" in as_predicted(root, "t.csv")[0].problem
    with pytest.raises(UserError, match=r"T.csv does not exist; there is other.csv, t.csv"):
        as_training(root, out, "T.csv")


@pytest.mark.parametrize("again", ["a.png", "a", "./sub/../a.png", "A.PNG"])
def test_a_image_stands_in_one_row(root: Path, out: Path, again: str) -> None:
    write(root / "t.csv", f"image,label\na.png,cat\nb.jpg,dog\n{again},dog\n")
    with pytest.raises(UserError, match=r"duplicates, 'a.png'.* in rows 2 and 4: keep one row"):
        as_training(root, out, "t.csv")
    write(root / "t.csv", f"image\n{again}\n")
    write(root / "u.csv", plain(labelled(DISK)))
    with pytest.raises(UserError, match=r"an image that row 2 of .*u.csv names too: remove"):
        table(root, out, table="u.csv", test_table="t.csv")


def test_ids_stay_apart_whatever_they_are(root: Path, out: Path) -> None:
    folder_of(root, "test/a.png", "new/a.png")
    write(root / "t.csv", "image,label\na.png,cat\ntest/a.png,dog\n")
    write(root / "test.csv", "image\na.png\n")
    table(root, out, table="t.csv", test_table="test.csv", test_image_folder="new")
    expected = {"a.png": "train", "test/a.png": "train", "test/test/a.png": "test"}
    assert column(out, "origin") == expected
