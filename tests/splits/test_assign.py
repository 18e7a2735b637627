"""Splits are stratified, keep together what belongs together, and depend on content alone."""

import shutil
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stages.split
from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits, write_splits
from classifier.images.store import Record, write_manifest
from classifier.splits.assign import SplitParams, assign
from classifier.splits.duplicates import NearDuplicates
from classifier.splits.quality import report
from tests.support.manifests import made_up, packed, photo

DEFAULT = SplitParams(seed=0, test_fraction=0.2, val_fraction=0.1)


def counts(manifest: Manifest, splits: np.ndarray, split: str) -> Counter[str]:
    return Counter(manifest.label[splits == split].tolist())


def labels(**sizes: int) -> list[str]:
    return [name for name, size in sizes.items() for _ in range(size)]


@given(
    sizes=st.lists(st.integers(3, 60), min_size=2, max_size=12),
    test=st.floats(0.05, 0.6),
    val=st.floats(0.05, 0.6),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_each_class_and_the_whole_are_exact_to_rounding(
    sizes: list[int], test: float, val: float, seed: int
) -> None:
    manifest = made_up(labels(**{f"c{i:02d}": size for i, size in enumerate(sizes)}))
    splits = assign(manifest, SplitParams(seed, test, val))
    tested, valued = counts(manifest, splits, "test"), counts(manifest, splits, "val")
    trained = counts(manifest, splits, "train")
    for i, size in enumerate(sizes):
        name = f"c{i:02d}"
        assert trained[name] + valued[name] + tested[name] == size
        assert min(trained[name], valued[name], tested[name]) >= 1
        if 1 <= size * test <= size - 2:
            assert abs(tested[name] - size * test) < 1 + 1e-9
    if all(1 <= size * test <= size - 2 for size in sizes):
        assert abs(tested.total() - sum(sizes) * test) < 1 + len(sizes) * 1e-9


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(tmp_path: Path) -> None:
    records = [
        Record(
            f"p{row}", "ab"[row % 2], "", f"g{row // 3}", 8, 8, "L", f"{row}", f"{row:x}", "s", 0, 9
        )
        for row in range(130)
    ]
    write_manifest(tmp_path, records)
    manifest = Manifest.read(tmp_path)
    write_manifest(tmp_path, np.random.default_rng(1).permutation(np.array(records)).tolist())
    shuffled = Manifest.read(tmp_path)
    assert (shuffled.id == manifest.id).all()
    assert (assign(shuffled, DEFAULT) == assign(manifest, DEFAULT)).all()
    assert (assign(manifest, replace(DEFAULT, seed=1)) != assign(manifest, DEFAULT)).any()


def test_a_new_image_moves_few_others() -> None:
    many = made_up(labels(a=500, b=500))
    keep = np.arange(1000) != 250
    fewer = Manifest(**{f.name: getattr(many, f.name)[keep] for f in fields(many)})
    assert (assign(many, DEFAULT)[keep] != assign(fewer, DEFAULT)).sum() <= 4


def test_the_test_set_stays_when_validation_or_fold_changes() -> None:
    manifest = made_up(labels(a=60, b=90, c=30), group=[f"g{row // 2}" for row in range(180)])
    plain = assign(manifest, DEFAULT) == "test"
    for changed in (
        replace(DEFAULT, val_fraction=0.4),
        replace(DEFAULT, folds=5),
        replace(DEFAULT, folds=5, fold=3),
    ):
        assert ((assign(manifest, changed) == "test") == plain).all()


def test_folds_cover_the_rest_once_each_stratified() -> None:
    manifest = made_up(labels(a=61, b=94))
    divisions = [assign(manifest, replace(DEFAULT, folds=4, fold=fold)) for fold in range(4)]
    rest = divisions[0] != "test"
    assert (sum((splits == "val").astype(int) for splits in divisions) == rest).all()
    for name in ("a", "b"):
        sizes = [counts(manifest, splits, "val")[name] for splits in divisions]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("folds", [0, 3])
def test_groups_and_exact_duplicates_are_never_divided(folds: int) -> None:
    random = np.random.default_rng(0)
    n = 900
    group = np.array([f"g{g}" if g < 60 else "" for g in random.integers(0, 200, n)])
    content = np.array([f"{c:x}" for c in random.integers(0, 800, n)])
    manifest = made_up([f"c{c}" for c in random.integers(0, 4, n)], group=group, content=content)
    splits = assign(manifest, replace(DEFAULT, folds=folds))
    for column in (group, content):
        for value in np.unique(column[column != ""]):
            assert len(set(splits[column == value])) == 1
    share = counts(manifest, splits, "test").total() / n
    assert abs(share - 0.2) < 0.02


def test_large_groups_of_every_class_reach_every_split() -> None:
    manifest = made_up(labels(a=40, b=40), group=[f"patient {row // 8}" for row in range(80)])
    splits = assign(manifest, DEFAULT)
    for split in ("train", "val", "test"):
        assert set(counts(manifest, splits, split)) == {"a", "b"}


def test_grouped_splits_are_as_stratified_as_those_of_scikit_learn() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    random = np.random.default_rng(2)
    n = 3000
    group = (random.pareto(1.5, n) * 40).astype(int) % 300
    label = np.array([f"c{c}" for c in random.choice(5, n, p=[0.5, 0.2, 0.15, 0.1, 0.05])])
    manifest = made_up(label, group=[f"g{g}" for g in group])
    total = np.array([(label == c).sum() for c in np.unique(label)])

    def deviation(mask: np.ndarray) -> float:
        return float(
            np.abs([(label[mask] == c).sum() for c in np.unique(label)] / total - 0.2).max()
        )

    ours = [deviation(assign(manifest, replace(DEFAULT, seed=s)) == "test") for s in range(5)]
    theirs = []
    for seed in range(5):
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(label, label, group)
        theirs.append(deviation(np.isin(np.arange(n), next(iter(folds))[1])))
    assert max(ours) <= max(theirs) + 0.01
    assert max(ours) < 0.05


def test_an_official_division_is_kept() -> None:
    origin = ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    manifest = made_up(["a", "b"] * 50, origin=origin)
    assert (assign(manifest, DEFAULT) == origin).all()
    folded = assign(manifest, replace(DEFAULT, folds=4))
    assert (folded[80:] == "test").all()
    assert (folded[:80] == "val").sum() == 20


def test_an_official_test_set_leaves_validation_to_be_divided() -> None:
    manifest = made_up(["a", "b"] * 100, origin=["train"] * 100 + ["test"] * 100)
    splits = assign(manifest, DEFAULT)
    assert (splits[100:] == "test").all()
    assert Counter(splits[:100].tolist()) == {"train": 90, "val": 10}


def test_unlabelled_images_stay_apart() -> None:
    manifest = made_up([*["a", "b"] * 50, *[""] * 20], origin=["train"] * 100 + ["test"] * 20)
    splits = assign(manifest, DEFAULT)
    assert (splits[100:] == "unlabelled").all()
    assert Counter(splits[:100].tolist()) == {"train": 72, "val": 8, "test": 20}


def test_copies_of_official_test_images_are_excluded() -> None:
    content = [f"{row}" for row in range(100)]
    content[3] = content[95]
    manifest = made_up(["a", "b"] * 50, content=content, origin=["train"] * 80 + ["test"] * 20)
    splits = assign(manifest, DEFAULT)
    assert splits[3] == "excluded"
    assert splits[95] == "test"
    assert (splits == "excluded").sum() == 1
    near = assign(manifest, DEFAULT, np.array([[5, 90], [6, 7]]))
    assert near[5] == "excluded"
    assert near[6] == near[7]


ROW = st.tuples(
    st.sampled_from(["a", "b", "a", "b", "a", "b", ""]),
    st.sampled_from(["", "", "train", "train", "val", "test"]),
    st.sampled_from(["", "", "", *(f"g{number}" for number in range(12))]),
    st.integers(0, 40),
)
PAIR = st.tuples(st.integers(0, 89), st.integers(0, 89))
# Rows of their own, so that there is always something to divide and no set is refused.
ALONE = [(name, "", "", 100 + row) for row, name in enumerate(["a", "b"] * 8)]


@given(
    rows=st.lists(ROW, min_size=12, max_size=90),
    near=st.lists(PAIR, max_size=12),
    official=st.sampled_from([("test", "val"), ("test",), ("val",), ()]),
    seed=st.integers(0, 3),
    folds=st.sampled_from([0, 0, 2, 3]),
    shuffled=st.randoms(use_true_random=False),
)
@settings(max_examples=400, deadline=None)
def test_nothing_that_belongs_together_is_in_two_splits(
    rows: list[tuple[str, str, str, int]],
    near: list[tuple[int, int]],
    official: tuple[str, ...],
    seed: int,
    folds: int,
    shuffled: Random,
) -> None:
    rows = [(a, b if b in (*official, "train") else "", c, d) for a, b, c, d in rows] + ALONE
    shuffled.shuffle(rows)
    label, origin, group, content = zip(*rows, strict=True)
    manifest = made_up(label, origin=origin, group=group, content=[f"c{c}" for c in content])
    tied = [row for row, other in enumerate(content) if other < 100]
    pairs = np.array([[tied[i % len(tied)] for i in pair] for pair in near], np.int64)
    pairs = pairs.reshape(-1, 2)
    splits = assign(manifest, replace(DEFAULT, seed=seed, folds=folds), pairs)

    used = np.isin(splits, ["train", "val", "test"])
    for column in (manifest.group, manifest.content):
        for value in np.unique(column[used & (column != "")]):
            assert len(set(splits[used & (column == value)])) == 1
    both = pairs[used[pairs].all(axis=1)]
    assert (splits[both[:, 0]] == splits[both[:, 1]]).all()
    alike = NearDuplicates(pairs, np.zeros(len(pairs), np.int64), 8, False)
    metrics = report(manifest, splits, alike, 0).metrics
    for kind in ("exact_duplicates", "groups", "near_duplicates"):
        assert metrics[f"{kind}_across_splits"] == 0

    # What was settled before stays where it was, and nothing is left out without a reason.
    assert ((splits == "unlabelled") == (manifest.label == "")).all()
    kept = {name for name in ("test", "val") if name in official and not (folds and name == "val")}
    tested = (manifest.origin == "test") & (manifest.label != "")
    assert (splits[tested] == "test").all()
    for row in range(len(rows)):
        reached = _reached(row, manifest, pairs)
        found = {manifest.origin[i] for i in reached if manifest.label[i]} & kept
        if manifest.label[row] and manifest.origin[row] not in kept:
            assert (splits[row] == "excluded") == bool(found)
        if manifest.label[row] and manifest.origin[row] == "val" and "val" in kept:
            assert splits[row] == ("excluded" if "test" in found else "val")
        if not found:
            assert len({splits[i] for i in reached if manifest.label[i]}) <= 1


def _reached(start: int, manifest: Manifest, pairs: np.ndarray) -> set[int]:
    """The rows that belong together with one, its own too, step by step."""
    reached, waiting = {start}, [start]
    while waiting:
        row = waiting.pop()
        group = (manifest.group == manifest.group[row]) & (manifest.group != "")
        near = np.isin(np.arange(len(manifest)), pairs[(pairs == row).any(axis=1)])
        linked = np.flatnonzero(group | near | (manifest.content == manifest.content[row]))
        waiting += [new for new in linked.tolist() if new not in reached]
        reached.update(linked.tolist())
    return reached


def test_every_copy_of_an_official_test_image_is_excluded() -> None:
    content = [f"{row}" for row in range(100)]
    content[3] = content[4] = content[5] = content[95]
    manifest = made_up(["a", "b"] * 50, content=content, origin=["train"] * 80 + ["test"] * 20)
    splits = assign(manifest, DEFAULT)
    assert np.flatnonzero(splits == "excluded").tolist() == [3, 4, 5]


def test_unlabelled_images_hold_copies_and_groups_together() -> None:
    """The unlabelled row comes first, so that the others are linked through it alone."""
    label = [""] * 20 + ["a", "b"] * 40
    content = [f"c{row}" for row in range(20)] + [f"c{row // 2}" for row in range(80)]
    origin = ["test"] * 20 + ["train"] * 80
    for columns in ({"content": content}, {"group": content}):
        splits = assign(
            made_up(label, origin=origin, **columns), replace(DEFAULT, test_fraction=0.4)
        )
        for row in range(20):
            pair = [i for i in range(20, 100) if content[i] == f"c{row}"]
            assert splits[pair[0]] == splits[pair[1]]


def test_an_image_of_a_group_of_the_official_test_set_is_excluded() -> None:
    group = [f"patient {row // 4}" for row in range(100)]
    origin = ["train"] * 78 + ["test"] * 22
    splits = assign(made_up(["a", "b"] * 50, origin=origin, group=group), DEFAULT)
    assert np.flatnonzero(splits == "excluded").tolist() == [76, 77]


def test_a_class_that_is_excluded_as_a_whole_is_told() -> None:
    group = ["site"] * 60 + [""] * 40
    manifest = made_up(
        ["a"] * 30 + ["b"] * 70, origin=["train"] * 30 + ["test"] * 30 + ["train"] * 40, group=group
    )
    with pytest.raises(
        UserError, match=r"class 'a' has 0 images .* 30 more .* download\.group_column"
    ):
        assign(manifest, DEFAULT)


def test_pairs_given_are_kept_together() -> None:
    manifest = made_up(["a", "b"] * 50)
    pairs = np.stack([np.arange(0, 98, 3), np.arange(1, 99, 3)], axis=1)
    splits = assign(manifest, DEFAULT, pairs)
    assert (splits[pairs[:, 0]] == splits[pairs[:, 1]]).all()


@pytest.mark.parametrize(
    ("manifest", "params", "sentence"),
    [
        (made_up(labels(a=9)), DEFAULT, "has 1 class"),
        (made_up(labels(a=9, b=2)), DEFAULT, "class 'b' has 2 images.*at least 3"),
        (
            made_up(labels(a=9, b=4)),
            replace(DEFAULT, folds=5),
            "class 'b' has 4 images.*at least 6",
        ),
        (
            made_up(labels(a=9, b=6), group=[""] * 9 + ["x"] * 6),
            DEFAULT,
            "class 'b' has 6 images in 1 group",
        ),
        (
            made_up(labels(a=9, b=9, c=3), origin=["train"] * 16 + ["test"] * 5),
            DEFAULT,
            "class 'c' has no image to train on",
        ),
    ],
)
def test_what_cannot_be_divided_is_named(
    manifest: Manifest, params: SplitParams, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        assign(manifest, params)


def test_what_is_left_out_is_told_where_too_little_is_left() -> None:
    """One image of a is free, its 29 others are of the group that the official test holds."""
    group = ["site"] * 59 + [""] * 41
    origin = ["train"] * 29 + ["test"] * 30 + ["train"] * 41
    manifest = made_up(["a"] * 29 + ["b"] * 30 + ["a"] + ["b"] * 40, origin=origin, group=group)
    with pytest.raises(
        UserError, match=r"class 'a' has 1 image .* 29 more .* download\.group_column"
    ):
        assign(manifest, DEFAULT)


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"fold": 2}, {"folds": 3, "fold": 3}])
def test_folds_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"split\.fold"):
        replace(DEFAULT, **wrong)


def test_the_table_round_trips_and_must_match_the_manifest(tmp_path: Path) -> None:
    manifest = made_up(labels(a=20, b=20))
    splits = assign(manifest, DEFAULT)
    write_splits(tmp_path / "split.csv", manifest, splits)
    assert (read_splits(tmp_path / "split.csv", manifest)[0] == splits).all()
    with pytest.raises(UserError, match="other images"):
        read_splits(tmp_path / "split.csv", made_up(labels(a=20, b=21)))
    with pytest.raises(UserError, match="dvc repro split"):
        read_splits(tmp_path / "none.csv", manifest)


def test_the_stage_refuses_a_division_that_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts on the finished division: a defect of `assign` writes nothing."""
    packed(tmp_path / "data/raw", [("ab"[n % 2], photo(n // 4)) for n in range(40)])
    (tmp_path / "data/raw/rejected.csv").write_text("id,path,reason\n")
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stages.split.assign", lambda *_: np.array(["train", "val"] * 20))
    with pytest.raises(RuntimeError, match="exact_duplicates_across_splits is 10"):
        stages.split.main()
    assert not list(tmp_path.rglob("split.csv"))


def test_sixty_thousand_images_take_about_a_second() -> None:
    manifest = made_up([f"c{row % 100}" for row in range(60_000)])
    started = time.perf_counter()
    assign(manifest, replace(DEFAULT, folds=5, fold=4))
    assert time.perf_counter() - started < 5
