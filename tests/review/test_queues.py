"""What is put before whoever reviews, and in which order."""

from pathlib import Path

import numpy as np
import pytest

from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits
from classifier.metrics.neighbors import unit
from classifier.review.desk import Desk, Project
from classifier.review.keys import MOST, RESERVED, class_keys
from classifier.review.queues import most_helpful
from tests.support import review_project
from tests.support.review_project import CLASSES, UNLABELLED, WRONG

FOLDS = Path("runs/cv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("review")
    review_project.made_up(root)
    return root


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    Path("data/corrections.csv").write_text("id,action,label,reason,date\n")
    return folder


def wrong(manifest: Manifest, *splits: str) -> set[int]:
    """The rows whose label was made wrong."""
    found = read_splits("data/splits/split.csv", manifest)[0]
    true = np.arange(len(manifest)) % 3
    given = np.array([CLASSES.index(name) if name else -1 for name in manifest.label])
    return set(np.flatnonzero((given >= 0) & (given != true) & np.isin(found, splits)).tolist())


def test_wrong_labels_of_train_are_found_by_out_of_fold_logits_alone(project: Path) -> None:
    with_folds, without = (Desk(Project(), folds) for folds in (FOLDS, None))
    manifest = with_folds.manifest
    queue = with_folds.queues["label-errors"]
    both = wrong(manifest, "train", "test")
    assert len(both) == 2 * WRONG
    found = set(queue.rows.tolist())
    assert len(found & both) >= 2 * WRONG - 1
    assert found & wrong(manifest, "train")
    assert found & wrong(manifest, "test")
    for row, guess in zip(queue.rows.tolist(), queue.suggested.tolist(), strict=True):
        assert row not in both or guess == row % 3
    assert "which were not trained on them contradict" in queue.about
    assert set(without.queues["label-errors"].rows.tolist()).isdisjoint(wrong(manifest, "train"))
    assert "run python -m classifier folds" in without.queues["label-errors"].about


def test_a_pair_comes_up_with_the_image_that_can_be_left_out(project: Path) -> None:
    desk = Desk(Project(), FOLDS)
    item = desk.item("near-duplicates", 0)
    pair = {item["row"], item["partner"]["row"]}
    assert pair == {0, 119}
    ranks = {"train": 0, "val": 1, "test": 2}
    assert ranks[item["split"]] <= ranks[item["partner"]["split"]]


def test_doubt_comes_first_and_unlabelled_images_are_apart(project: Path) -> None:
    desk = Desk(Project(), FOLDS)
    guesses = [desk.item("uncertain", place)["guesses"] for place in range(40)]
    margins = [one[0]["probability"] - one[1]["probability"] for one in guesses]
    assert margins == sorted(margins)
    unlabelled = desk.queues["unlabelled"]
    assert sorted(unlabelled.rows.tolist()) == list(range(120, 120 + UNLABELLED))
    assert desk.item("unlabelled", 0)["label"] == ""
    assert desk.queues["rejected"].files == ["<b>broken</b>.png"]
    assert desk.item("rejected", 0)["row"] is None


def test_what_is_decided_counts_no_longer_and_comes_no_more(project: Path) -> None:
    desk = Desk(Project(), FOLDS)
    first, second = desk.queues["label-errors"].rows[:2].tolist()
    total = len(desk.queues["label-errors"].rows)
    assert desk.decide(first, "class", CLASSES[first % 3], "").endswith(f"{CLASSES[first % 3]}.")
    assert desk.decide(second, "exclude", None, "").endswith("excluded.")
    assert desk.counts()["label-errors"] == total - 2
    assert desk.next_place("label-errors", -1) == 2
    assert desk.item("label-errors", 0)["decision"]["action"] == "relabel"
    again = Desk(Project(), FOLDS)
    assert first not in again.queues["label-errors"].rows[:WRONG]
    desk.decide(first, "class", str(desk.manifest.label[first]), "")
    assert desk.item("label-errors", 0)["decision"]["action"] == "keep"
    desk.decide(121, "class", "owl", "")
    assert desk.image(121)["decision"]["action"] == "label"
    for row, action, label in ((121, "keep", None), (0, "class", "bird")):
        with pytest.raises(UserError, match=r"no label that could be kept|is not a class"):
            desk.decide(row, action, label, "")


def test_a_finished_queue_says_so_and_an_unfinished_one_goes_round(project: Path) -> None:
    desk = Desk(Project(), FOLDS)
    last = UNLABELLED - 1
    assert desk.next_place("unlabelled", last) == 0
    for row in desk.queues["unlabelled"].rows.tolist():
        desk.decide(row, "exclude", None, "")
    assert desk.next_place("unlabelled", -1) is None


def test_neighbors_are_those_of_train_and_never_the_image_itself(project: Path) -> None:
    desk = Desk(Project(), FOLDS)
    splits = desk.splits
    for row in (int(np.flatnonzero(splits == split)[0]) for split in ("train", "test")):
        near = desk.image(row)["neighbors"]
        assert len(near) == 6
        assert row not in [one["row"] for one in near]
        assert {one["split"] for one in near} == {"train"}
        distances = [one["distance"] for one in near]
        assert distances == sorted(distances)
        # Embeddings are the logits here: neighbors are of the same true class.
        assert sum(one["row"] % 3 == row % 3 for one in near) >= 5


def test_files_of_different_runs_are_refused(project: Path, tmp_path: Path) -> None:
    path = Path("data/predictions/test_logits.npy")
    logits = np.load(path)
    try:
        np.save(path, logits[1:])
        with pytest.raises(UserError, match=r"has \d+ rows for \d+ images: run dvc repro evaluate"):
            Desk(Project(), FOLDS)
    finally:
        np.save(path, logits)
    np.save(tmp_path / "out_of_fold_logits.npy", logits)
    (tmp_path / "out_of_fold.csv").write_text("id\nx\n")
    (tmp_path / "folds.json").write_text("{}")
    with pytest.raises(UserError, match="of other images or classes than data/prepared"):
        Desk(Project(), tmp_path)


def test_the_most_helpful_are_in_doubt_and_far_apart() -> None:
    """Three clusters; the first has the most doubt, and its second image adds nothing."""
    rng = np.random.default_rng(0)
    centers = np.eye(8)[:3]
    vectors = unit(np.repeat(centers, 20, axis=0) + 0.02 * rng.normal(size=(60, 8)))
    doubt = np.repeat([1.0, 0.9, 0.8], 20) + 0.01 * rng.random(60)
    none = np.zeros((0, 8), np.float16)
    assert sorted((most_helpful(doubt, vectors, none)[:3] // 20).tolist()) == [0, 1, 2]
    known = unit(centers[:1])
    assert sorted((most_helpful(doubt, vectors, known)[:2] // 20).tolist()) == [1, 2]
    assert sorted(most_helpful(doubt, vectors, none).tolist()) == list(range(60))
    assert len(most_helpful(doubt, vectors, none, most=7)) == 7


def test_every_class_has_a_key_of_its_own() -> None:
    assert class_keys([str(n) for n in range(10)]) == [str(n) for n in range(10)]
    assert class_keys(["cat", "dog", "1"]) == ["2", "3", "1"]
    assert class_keys(["a", "A", "k"]) == ["1", "2", "3"]
    keys = class_keys([f"class {n}" for n in range(MOST)])
    assert len(set(keys)) == MOST
    assert not set(keys) & set(RESERVED)
    assert class_keys([f"class {n}" for n in range(MOST + 1)]) == []
