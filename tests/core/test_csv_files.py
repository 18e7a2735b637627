"""The project's own tables: text survives, damage is told in one sentence."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from classifier.core.csv_files import guarded, read_table, row_writer, write_table
from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits
from classifier.images.store import Record, write_manifest
from tests.support.manifests import made_up

AWKWARD = [
    "nan", "NA", "None", "null", "", "1.0", "1.00", "007", "7", "1e3", "true", "True", "inf", "-",
    'a,"b', '"', "'", "x\ny", "x\ry", "x\r\ny", "x\r\n", "\r", "Icon\r", " a", "a ", "\t", "#a",
    "\ufeffa", "\u2028", "=cmd|' /C calc'!A0", "+1+1", "-1", "-1.5e3", "+x", "@SUM(1)", "\t=1",
    "'=1", "''=1", "'tis", "\n=1",
    "é", "e\u0301", "😀", "=1+1", "\\", "a;b", "<<<<<<< HEAD",
]  # fmt: skip

# What a name can be: no surrogates, which are no UTF-8, and no NUL, which no file system allows.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return cell == ""


@given(st.lists(texts, min_size=1, max_size=20))
@example(AWKWARD)
@settings(deadline=None, max_examples=60)
def test_text_survives(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    rows = list(zip(names, range(len(names)), reversed(names), strict=True))
    write_table(
        folder / "a.csv", {"id": names, "row": range(len(names)), "label": np.array(names[::-1])}
    )
    with row_writer(folder / "b.csv", ["id", "row", "label"]) as write:
        write(rows)
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()
    table = read_table(folder / "a.csv", "split", {"id": str, "row": int})
    assert list(table.itertuples(index=False, name=None)) == rows
    with (folder / "a.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))[1:]
    assert found == [[guarded(a), str(n), guarded(b)] for a, n, b in rows]
    cells = [cell for row in found for cell in (row[0], row[2])]
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r\n" and not is_number(cell)]


def test_rows_end_as_on_unix_and_only_awkward_cells_are_quoted(tmp_path: Path) -> None:
    write_table(
        tmp_path / "t.csv", {"id": ["a", "b,c", "d\re", "\r\n"], "x": [1 / 3, 2.0, np.nan, 1e-9]}
    )
    assert (tmp_path / "t.csv").read_bytes() == (
        b'id,x\na,0.333333\n"b,c",2\n"d\re",\n"\'\r\n",1e-09\n'
    )
    assert read_table(tmp_path / "t.csv", "split", {"x": float})["x"].isna().tolist() == [
        False, False, True, False,
    ]  # fmt: skip


def test_a_table_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", {"id": ["a"]})
    with pytest.raises(UnicodeEncodeError):
        write_table(tmp_path / "t.csv", {"id": np.array(["b", "\ud800"], object)})
    assert (tmp_path / "t.csv").read_text() == "id\na\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_the_manifest_keeps_every_text(tmp_path: Path) -> None:
    records = [
        Record(f"{number}{text}", text, "", text, 8, 9, text, "0f", "ff" * 8, "s.tar", 0, 2**40)
        for number, text in enumerate(AWKWARD)
    ]
    write_manifest(tmp_path, records)
    manifest = Manifest.read(tmp_path)
    records.sort()
    for name in ("id", "label", "group", "mode", "shard", "size"):
        assert getattr(manifest, name).tolist() == [getattr(record, name) for record in records]
    assert set(manifest.content.tolist()) == {b"0f"}
    assert manifest.phash.dtype == np.uint64
    assert set(manifest.phash.tolist()) == {2**64 - 1}


GOOD = "id,split\np00000,train\np00001,test\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (GOOD.replace("split", "spilt"), "is damaged .it has no column 'split'.: run dvc repro sp"),
        (GOOD.replace("p00001,test", "p00001"), "puts p00001 into '', which is no split"),
        (GOOD.replace("test", "tset"), "puts p00001 into 'tset', which is no split"),
        (GOOD.replace("train", "train,x"), "is damaged .its rows have more cells than its header"),
        (GOOD.replace("test", "test,x"), "is damaged .*line 3"),
        (GOOD.replace("p00001", "p00000"), "is about other images"),
        (GOOD + "p00001,test\n", "is about other images"),
        (GOOD + '"p00002,test\n', "is damaged .*EOF inside string"),
        (GOOD + "<<<<<<< HEAD\n", "puts <<<<<<< HEAD into '', which is no split"),
        ("", "is damaged"),
        (b"id,split\n\xff,train\n", "is damaged .*utf-8"),
    ],
)
def test_a_damaged_split_table_is_told_in_one_sentence(
    tmp_path: Path, content: str | bytes, sentence: str
) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=f"split.csv {sentence}") as refusal:
        read_splits(path, made_up("ab"))
    assert str(refusal.value).endswith("run dvc repro split.")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("old", "new"), [(",0,9\n", ",0\n"), (",0,9\n", "\n"), (",0,9", ",0,x")])
def test_a_damaged_manifest_is_told_in_one_sentence(tmp_path: Path, old: str, new: str) -> None:
    write_manifest(tmp_path, [Record("a", "b", "", "", 8, 8, "L", "0", "0", "s.tar", 0, 9)])
    text = (tmp_path / "manifest.csv").read_text()
    (tmp_path / "manifest.csv").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=r"manifest.csv is damaged \(.*\): run dvc repro download"):
        Manifest.read(tmp_path)
