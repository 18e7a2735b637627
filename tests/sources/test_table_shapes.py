"""Tables in every usual shape: read, or refused with what to do. Columns that divide a set."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from tests.sources.test_download import classes, folder_of
from tests.sources.test_table import table, write
from tests.support.table_cases import (
    DISK,
    LABELS,
    OTHERS,
    Rows,
    as_predicted,
    as_test,
    as_training,
    column,
    labelled,
    plain,
)


def cells(separator: str) -> Callable[[Rows], str]:
    return lambda rows: plain(rows).replace(",", separator)


def headless(form: str) -> Callable[[Rows], str]:
    return lambda rows: "".join(form.format(*row) + "\n" for row in rows)


def one_hot(form: str) -> Callable[[Rows], str]:
    def make(rows: Rows) -> str:
        flags = [(name, label == "cat", label == "dog") for name, label in rows]
        return "image,cat,dog\n" + "".join(form.format(*row) + "\n" for row in flags)

    return make


def records(rows: Rows) -> list[dict[str, object]]:
    return [{"image": name, "label": label, "boxes": [1, 2]} for name, label in rows]


SHAPES: dict[str, tuple[str, Callable[[Rows], str]]] = {
    "excel": ("t.csv", lambda rows: "\ufeff" + cells(";")(rows).replace("\n", "\r\n")),
    "excel's line": ("t.csv", lambda rows: "sep=;\r\n" + cells(";")(rows)),
    "excel's blanks": ("t.csv", lambda rows: cells(";")(rows).replace("\n", ";;\n") + ";;;\n\n"),
    "excel's unicode text": ("t.txt", cells("\t")),
    "bars": ("t.csv", cells("|")),
    "quotes": ("t.csv", lambda rows: headless('"{}", "{}"')([("image", "label"), *rows])),
    "other letters in the header": ("t.csv", lambda rows: plain(rows).replace("image", " Image ")),
    "no header": ("t.csv", headless("{},{}")),
    "no header, label first": ("t.csv", headless("{1},{0}")),
    "blanks": ("t.txt", headless("{} {}")),
    "blanks below a header": ("t.txt", cells("  ")),
    "one-hot": ("t.csv", one_hot("{},{:.1f},{:.1f}")),
    "one-hot of pandas": ("t.csv", one_hot("{},{!s},{!s}")),
    "json lines": ("t.jsonl", lambda rows: "".join(f"{json.dumps(r)}\n" for r in records(rows))),
    "json": ("t.json", lambda rows: json.dumps(records(rows), indent=1)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_of_every_usual_shape(root: Path, out: Path, shape: str) -> None:
    name, make = SHAPES[shape]
    rows = [row for row in labelled(DISK) if " " not in row[0]]
    encoding = "utf-16" if shape == "excel's unicode text" else "utf-8"
    (root / name).write_bytes(make(rows).encode(encoding))
    assert as_training(root, out, name) == dict(rows)
    assert classes(out) == ["cat", "dog"]
    assert as_test(root, out, name) == dict(rows)
    found = as_predicted(root, name)
    assert [image.name for image in found] == [name for name, _ in rows]
    assert not any(image.problem for image in found)


@pytest.mark.parametrize("names", [DISK, [name.rpartition(".")[0] for name in DISK]])
def test_a_list_of_names_loses_no_row(
    root: Path, out: Path, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / "list.txt", "".join(f"{name}\n" for name in names))
    assert as_test(root, out, "list.txt") == dict.fromkeys(names, "")
    assert [image.name for image in as_predicted(root, "list.txt")] == list(names)
    assert capsys.readouterr().err.count(f"no header row: in its first row, '{names[0]}'") == 2


def test_labels_stay_the_texts_that_they_are(root: Path, out: Path) -> None:
    rows = list(zip(DISK, ("007", "7", "NA", "True", "1.0", "1e3", "None", "-"), strict=True))
    write(root / "t.csv", plain(rows))
    assert as_training(root, out, "t.csv") == dict(rows)
    lines = [f'{{"image": "{name}", "label": 1.{n}0}}\n' for n, name in enumerate(DISK)]
    write(root / "t.jsonl", "".join(lines))
    expected = {name: f"1.{n}0" for n, name in enumerate(DISK)}
    assert as_training(root, out, "t.jsonl") == expected


TWO = "image,label\na.png,cat\n"
FLAGS = "image,cat,dog\na.png,1,0\n"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "t.csv",
            "a.png,cat,1\nb.jpg,dog,2\n",
            r"no header row .*'a.png', 'cat', '1'\): put a row",
        ),
        ("t.csv", "a.png\nb.jpg\n", "no header row .*put a row above it"),
        ("t.csv", "a.png,mask.png\nb.jpg,mask.png\n", "no header row"),
        ("t.csv", f"{FLAGS}b.jpg,1,1\n", r"row 3 has more than one label .* \(cat, dog\)"),
        ("t.csv", f"{FLAGS}b.jpg,0,0\n", r"row 3 \(b.jpg\) has no label"),
        ("t.csv", "image,cat,dog,age\na.png,1,0,40\n", "one-hot columns are read if there are no"),
        ("t.csv", "file,label\na.png,cat\n", r"no column 'image' \('file' holds names of images"),
        ("t.csv", "image,label,label\na.png,cat,x\n", "has 2 columns 'label': rename all but one"),
        (
            "t.csv",
            f"{TWO}b.jpg,dog, big\n",
            "row 3 has 3 cells where the first row has 2: put .*','",
        ),
        ("t.csv", f'{TWO}"b.jpg,dog\n', "row 3 cannot be read .*quotation marks"),
        ("t.csv", f"{TWO}b.jpg,d\0og\n", "row 3 holds a NUL"),
        ("t.csv", " \n\n", "is empty"),
        ("t.xlsx", "PK\3\4", "t.xlsx is a workbook, which is not read: save the table as CSV"),
        ("t.jsonl", '{"image": "a.png"\n', "row 1 is not a JSON object"),
        ("t.jsonl", '{"image": "a.png"}\n[1]\n', "row 2 is not a JSON object"),
        ("t.jsonl", '{"image": "a.png", "label": ["cat", "dog"]}\n', "no column 'label'"),
        ("t.jsonl", "", "is empty"),
        ("t.jsonl", '{"image": "a.png", "label": "a\\u0000"}\n', "row 1 holds a NUL or surrogate"),
        ("t.jsonl", '\n{"image": "a.png", "label": "\\ud800"}\n', "row 2 holds a NUL or surrogate"),
        ("t.txt", "a.png cat\nx y.tif dog\n", "row 2 has 3 cells where .* put a cell .* ' '"),
    ],
)
def test_tables_that_are_no_use_say_what_to_do(
    root: Path, out: Path, name: str, content: str, sentence: str
) -> None:
    write(root / name, content)
    with pytest.raises(UserError, match=sentence):
        as_training(root, out, name)


WORDS = ("train", "Train", "training", "train", "valid", "val", "test", "TEST")
SETS = ("train",) * 4 + ("val",) * 2 + ("test",) * 2


def with_columns(header: str, *columns: Iterable[str]) -> str:
    rows = zip(DISK, LABELS, *columns, strict=True)
    return "\n".join([f"image,label,{header}", *map(",".join, rows)]) + "\n"


def test_a_column_that_divides_the_set_is_followed_and_said(
    root: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / "t.csv", with_columns("whatever", WORDS))
    table(root, out, table="t.csv")
    assert column(out, "origin") == dict(zip(DISK, SETS, strict=True))
    assert "column 'whatever' divides the set" in capsys.readouterr().err
    table(root, out, table="t.csv", split_column="whatever")
    assert column(out, "origin") == dict(zip(DISK, SETS, strict=True))
    assert not capsys.readouterr().err
    table(root, out, table="t.csv", split_column=None)
    assert set(column(out, "origin").values()) == {""}
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "words", "other"),
    [("is_valid", ("False", "True"), "val"), ("is_test", ("0", "1"), "test")],
)
def test_a_column_that_marks_one_split(
    root: Path, out: Path, header: str, words: tuple[str, str], other: str
) -> None:
    write(root / "t.csv", with_columns(header, [words[n > 5] for n in range(8)]))
    table(root, out, table="t.csv")
    assert list(column(out, "origin").values()).count("train") == 6
    assert list(column(out, "origin").values()).count(other) == 2


def test_a_column_that_seems_to_divide_the_set_is_not_passed_over_silently(
    root: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root / "t.csv", with_columns("Fold", "01234567"))
    table(root, out, table="t.csv")
    assert set(column(out, "origin").values()) == {""}
    assert "column 'Fold' is passed over" in capsys.readouterr().err
    write(root / "t.csv", with_columns("a,b", WORDS, WORDS))
    with pytest.raises(UserError, match=r"several columns that divide it, 'a', 'b': name one"):
        table(root, out, table="t.csv")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("somewhere", *WORDS[1:]), "row 2 has 'somewhere' in column 'split': write train, val or"),
        (("", *WORDS[1:]), "row 2 has '' in column 'split'"),
        (("test",) * 8, "no row for training"),
        (("train", "test") * 4, "one class only"),
    ],
)
def test_split_columns_that_cannot_be_followed(
    root: Path, out: Path, words: tuple[str, ...], sentence: str
) -> None:
    write(root / "t.csv", with_columns("split", words))
    with pytest.raises(UserError, match=sentence):
        table(root, out, table="t.csv", split_column="split")
    with pytest.raises(UserError, match=r"no column 'spilt' \(did you mean 'split'\?\).*split_col"):
        table(root, out, table="t.csv", split_column="spilt")


def test_test_rows_of_a_split_column_may_lack_a_label(root: Path, out: Path) -> None:
    text = with_columns("split", WORDS).replace(f"{DISK[7]},dog", f"{DISK[7]},")
    write(root / "t.csv", text)
    assert table(root, out, table="t.csv").unlabelled == 1
    write(root / "t.csv", text.replace(f"{DISK[5]},dog", f"{DISK[5]},"))
    with pytest.raises(UserError, match=r"row 7 .* has no label"):
        table(root, out, table="t.csv")


def test_a_validation_table(root: Path, out: Path) -> None:
    write(root / "t.csv", plain(labelled(DISK)))
    folder_of(root / "val", "a.png", "b.png")
    write(root / "val.csv", "image,label\na.png,cat\nb.png,dog\n")
    tables = {"table": "t.csv", "val_table": "val.csv", "val_image_folder": "val"}
    table(root, out, **tables, test_table="other.csv")
    expected = dict.fromkeys(DISK, "train") | dict.fromkeys(OTHERS, "test")
    assert column(out, "origin") == {**expected, "val/a.png": "val", "val/b.png": "val"}
    table(root, out, **tables)
    assert set(column(out, "origin").values()) == {"train", "val"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("image\nz0.png\n", "no column 'label'"),
        ("image,label\nz0.png,\n", "has no label"),
        (
            "image,label\nz0.png,Cat\n",
            r"class 'Cat' is not .*\(but 'cat' is: they differ in letter c",
        ),
        ("image,label\nA.png,cat\n", "names A.png, an image that row 2 of .*t.csv names too"),
    ],
)
def test_validation_tables_that_do_not_fit(
    root: Path, out: Path, content: str, sentence: str
) -> None:
    write(root / "t.csv", plain(labelled(DISK)))
    write(root / "val.csv", content)
    with pytest.raises(UserError, match=sentence):
        table(root, out, table="t.csv", val_table="val.csv")
