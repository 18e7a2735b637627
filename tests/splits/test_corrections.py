"""Corrections change labels, leave images out and move nothing else; nonsense gets a sentence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stages.split
from classifier.core.errors import UserError
from classifier.core.files import read_json, write_json
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits, write_splits
from classifier.preprocessing.prepare import PreprocessParams, prepare
from classifier.splits.assign import SplitParams, assign
from classifier.splits.corrections import (
    Corrected,
    Correction,
    apply,
    parse_corrections,
    read_corrections,
)
from tests.support.manifests import made_up, packed, photo

DEFAULT = SplitParams(seed=0, test_fraction=0.2, val_fraction=0.1)
HEADER = "id,action,label,reason,date\n"
DAY = "2026-03-31"


def decided(*rows: tuple[str, str, str]) -> dict[str, Correction]:
    """Corrections of id, action and label."""
    return {name: Correction(name, action, label, "", DAY) for name, action, label in rows}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """40 of a, 40 of b, and ten without a label, of which the first is a copy of a test image."""
    found = made_up(["a"] * 40 + ["b"] * 40 + [""] * 10)
    test = int(np.flatnonzero(assign(found, DEFAULT) == "test")[0])
    content = found.content.copy()
    content[80] = content[test]
    return replace(found, content=content)


def corrected(manifest: Manifest, *rows: tuple[str, str, str]) -> Corrected:
    return apply(decided(*rows), manifest, assign(manifest, DEFAULT))


def test_labels_and_splits_change_where_they_are_told_to_and_nowhere_else(
    manifest: Manifest,
) -> None:
    before = assign(manifest, DEFAULT)
    train, test = (np.flatnonzero(before == name).tolist() for name in ("train", "test"))
    wrong, out, seen = train[0], test[1], train[1]
    names = manifest.id.tolist()
    now = corrected(
        manifest,
        (names[wrong], "relabel", "b"),
        (names[out], "exclude", ""),
        (names[seen], "keep", ""),
        (names[80], "label", "a"),
        (names[81], "label", "b"),
    )
    assert now.manifest.label[wrong] == "b"
    assert now.manifest.label[81] == "b"
    assert np.flatnonzero(np.asarray(now.manifest.label != manifest.label)).tolist() == [
        wrong,
        80,
        81,
    ]
    assert {n: (before[n], now.splits[n]) for n in np.flatnonzero(before != now.splits)} == {
        out: ("test", "excluded"),
        80: ("unlabelled", "excluded"),  # its copy is in test
        81: ("unlabelled", "train"),
    }
    assert np.flatnonzero(now.left_out).tolist() == sorted([out, 80])
    assert now.copies == 1
    assert (manifest.label[wrong], before[out]) == ("a", "test"), "the source's are untouched"


def test_a_near_duplicate_of_a_test_image_is_left_out_where_they_stay_together(
    manifest: Manifest,
) -> None:
    splits = assign(manifest, DEFAULT)
    pairs = np.array([[np.flatnonzero(splits == "test")[0], 82]])
    names = manifest.id.tolist()
    added = decided((names[82], "label", "a"))
    assert apply(added, manifest, splits).splits[82] == "train"
    assert apply(added, manifest, splits, pairs).splits[82] == "excluded"


def test_without_corrections_nothing_changes(manifest: Manifest, tmp_path: Path) -> None:
    splits = assign(manifest, DEFAULT)
    now = apply({}, manifest, splits)
    assert now.manifest is manifest
    assert now.splits is splits
    write_splits(tmp_path / "before.csv", manifest, splits)
    write_splits(tmp_path / "now.csv", manifest, now.splits, now.manifest.label)
    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "now.csv").read_bytes()
    kept = corrected(manifest, (str(manifest.id[0]), "keep", ""))
    write_splits(tmp_path / "kept.csv", manifest, kept.splits, kept.manifest.label)
    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "kept.csv").read_bytes()


def test_the_labels_travel_in_the_table_of_splits(manifest: Manifest, tmp_path: Path) -> None:
    names = manifest.id.tolist()
    now = corrected(manifest, (names[0], "relabel", "b"), (names[81], "label", "a"))
    write_splits(tmp_path / "split.csv", manifest, now.splits, now.manifest.label)
    splits, read = read_splits(tmp_path / "split.csv", manifest)
    assert (splits == now.splits).all()
    assert read.label.tolist() == now.manifest.label.tolist()
    damaged = (tmp_path / "split.csv").read_text().replace(",b\n", ",c\n")
    (tmp_path / "split.csv").write_text(damaged)
    with pytest.raises(UserError, match="the label 'c', which is no class: run dvc repro split"):
        read_splits(tmp_path / "split.csv", manifest)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("p9", "keep", "")], "corrects p9, which the data do not have: remove the row"),
        (
            [("x", "keep", ""), ("y", "exclude", "")],
            "corrects x and 1 more, which the data do not have: remove the rows",
        ),
        (
            [("p00000", "relabel", "bb")],
            "calls p00000 'bb', which is no class of the data .did you mean 'b'",
        ),
        ([("p00000", "label", "b")], "labels p00000, which has the label 'a' already: say relabel"),
        ([("p00081", "relabel", "b")], "says relabel of p00081, which has no label: say label"),
        ([("p00081", "keep", "")], "says keep of p00081, which has no label: say label"),
        (
            [(f"p{n:05d}", "relabel", "b") for n in range(40)],
            "leaves train without an image of class 'a': take some of its rows back",
        ),
        (
            [(f"p{n:05d}", "exclude", "") for n in range(80)],
            "leaves train without images: exclude fewer of them",
        ),
    ],
)
def test_what_does_not_fit_the_images_gets_a_sentence(
    manifest: Manifest, rows: list[tuple[str, str, str]], sentence: str
) -> None:
    with pytest.raises(UserError, match=f"^data/corrections.csv {sentence}"):
        corrected(manifest, *rows)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the first line must be id,action,label,reason,date"),
        ("id;action;label;reason;date\n", "the first line must be id,action,label,reason,date"),
        (HEADER + f"a,relable,b,,{DAY}\n", "line 2: 'relable' is not an action .did you mean 're"),
        (HEADER + f"\n\na,relabel,,,{DAY}\n", "line 4: relabel needs a label, and its label is ''"),
        (HEADER + f"a,exclude,b,,{DAY}\n", "line 2: exclude takes no label, and its label is 'b'"),
        (HEADER + f"a,keep,b,,{DAY}\n", "line 2: keep takes no label"),
        (HEADER + "a,keep,,,31.3.2026\n", "line 2: '31.3.2026' is not a date: write it like"),
        (HEADER + f",keep,,,{DAY}\n", "line 2 has no id"),
        (HEADER + f"a,keep,{DAY}\n", "line 2 has 3 cells where 5 belong"),
        (HEADER + f"a,keep,,x, y,{DAY}\n", "line 2 has 6 cells where 5 belong"),
        (
            HEADER + f'a,keep,,"two\nlines",{DAY}\nb,keep,,,{DAY}\na,exclude,,,{DAY}\n',
            "line 5 names a again, which is in line 2 already",
        ),
        (HEADER + f"<<<<<<< HEAD\na,keep,,,{DAY}\n", "line 2 is a mark of Git's: settle the merge"),
        (HEADER + f'a,keep,,"{DAY}\n', "line 2 cannot be read .unexpected end of data"),
        (HEADER + f"a,keep,,\xff,{DAY}\n", "line 2 is not UTF-8"),
    ],
)
def test_what_is_no_table_of_corrections_gets_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^corrections.csv[:,] {sentence}"):
        parse_corrections(text.encode("latin-1"), "corrections.csv")


def test_what_spreadsheets_make_of_the_table_is_read(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    assert read_corrections(path) == {}
    text = HEADER + f'x/1.png,relabel,b,"a, b ""c""",{DAY}\n\n'
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert read_corrections(path) == {
        "x/1.png": Correction("x/1.png", "relabel", "b", 'a, b "c"', DAY)
    }


def test_the_stages_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """split and preprocess, on images; what the manifest says stays as it was."""
    monkeypatch.chdir(tmp_path)
    raw = Path("data/raw")
    images = [("ab"[n % 2] if n < 40 else "", photo(n)) for n in range(42)]
    manifest = packed(raw, images)
    write_json(raw / "source.json", {})
    (raw / "classes.json").write_text('["a", "b"]')
    (raw / "rejected.csv").write_text("id,path,reason\n")
    Path("params.yaml").write_text("split: {seed: 0, test_fraction: 0.2, val_fraction: 0.1}\n")
    stages.split.main()
    before, _ = read_splits("data/splits/split.csv", manifest)
    quality = read_json("metrics/quality.json")
    first, second = np.flatnonzero(before == "train")[:2]
    Path("data/corrections.csv").write_text(
        HEADER
        + f"0040,label,a,,{DAY}\n{second:04d},exclude,,,{DAY}\n"
        + f"{first:04d},relabel,{'ba'[first % 2]},,{DAY}\n"
    )
    capsys.readouterr()
    stages.split.main()
    assert "1 relabel, 1 exclude, 0 keep, 1 label" in capsys.readouterr().out
    splits, now = read_splits("data/splits/split.csv", manifest)
    params = PreprocessParams(image_size=8, channels=1, resize="squash", normalize="unit")
    data = prepare(raw, now, splits, ["a", "b"], params, tmp_path / "prepared")
    found = dict(zip(data.ids("train"), data.labels("train").tolist(), strict=True))
    assert found[f"{first:04d}"] == 1 - first % 2
    assert found["0040"] == 0
    assert f"{second:04d}" not in found
    assert data.meta["counts"]["unlabelled"] == 1
    counted = {"relabel": 1, "exclude": 1, "keep": 0, "label": 1}
    after = read_json("metrics/quality.json")
    assert after.pop("corrections") == counted
    assert after.pop("pairs") is not None
    assert {**quality, **after} | {"pairs": 0} == {**quality, "pairs": 0} | {
        key: after[key] for key in ("smallest_class", "imbalance")
    }
    assert Manifest.read(raw).label.tolist() == manifest.label.tolist()
