"""The quality report counts what it says, and doubtful images are marked."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from classifier.report.image_quality import image_quality
from classifier.splits.duplicates import NearDuplicates
from classifier.splits.quality import LISTED, report
from tests.support.manifests import made_up, photo


def near(pairs: list[tuple[int, int]], bits: list[int] | None = None) -> NearDuplicates:
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return NearDuplicates(rows, np.array(bits or [0] * len(rows), np.int64), 8, False)


def test_the_report_counts_and_lists() -> None:
    label = [*["cat"] * 6, *["dog"] * 3, ""]
    content = ["same", "same", "c", "d", "e", "f", "same", "h", "i", "j"]
    group = ["", "", "g", "g", "", "", "", "h", "h", ""]
    splits = np.array(
        [
            "train",
            "train",
            "train",
            "test",
            "val",
            "excluded",
            "train",
            "test",
            "test",
            "unlabelled",
        ]
    )
    manifest = made_up(label, content=content, group=group)
    found = report(manifest, splits, near([(2, 3), (2, 5), (4, 8), (7, 8)], [4, 0, 2, 1]), 5)
    metrics = found.metrics
    pairs = metrics.pop("pairs")
    assert metrics == {
        "images": 10,
        "rejected": 5,
        "excluded": 1,
        "excluded_copies": 0,
        "exact_duplicates": 2,
        "exact_duplicates_across_splits": 0,
        "label_conflicts": 1,
        "near_duplicate_pairs": 4,
        "near_duplicates_across_splits": 2,
        "groups_across_splits": 1,
        "smallest_class": 3,
        "imbalance": pytest.approx(5 / 3),
    }
    across = pairs["near_duplicates_across_splits"]
    assert [(row["first"], row["second"], row["bits"]) for row in across] == [
        ("p00004", "p00008", 2),
        ("p00002", "p00003", 4),
    ]
    assert pairs["label_conflicts"] == [
        {
            "first": "p00000",
            "first_label": "cat",
            "first_split": "train",
            "second": "p00006",
            "second_label": "dog",
            "second_split": "train",
        }
    ]
    assert [row["second"] for row in pairs["near_duplicate_label_conflicts"]] == ["p00008"]
    assert [sentence.split()[0] for sentence in found.warnings] == ["1", "1", "2"]
    json.dumps(metrics)


def test_an_unlabelled_copy_hides_nothing_of_the_others() -> None:
    """Rows 0 and 1 are unlabelled copies, row 4 one that an official set has excluded."""
    label = ["", "", "cat", "dog", "cat", "cat", "dog", "owl"]
    content = ["x", "y", "x", "x", "z", "z", "y", "u"]
    splits = np.array(["unlabelled"] * 2 + ["train"] * 2 + ["excluded", "test", "train", "val"])
    manifest = made_up(label, content=content, origin=[""] * 5 + ["test"] + [""] * 2)
    found = report(manifest, splits, near([(0, 4), (1, 7), (1, 0)]), 0)
    assert found.metrics["exact_duplicates"] == 4
    assert (found.metrics["excluded"], found.metrics["excluded_copies"]) == (1, 1)
    (conflict,) = found.metrics["pairs"]["label_conflicts"]
    assert (conflict["first"], conflict["second"]) == ("p00002", "p00003")
    assert found.metrics["near_duplicates_across_splits"] == 2
    across = found.metrics["pairs"]["near_duplicates_across_splits"]
    assert [(pair["first"], pair["second"]) for pair in across] == [
        ("p00002", "p00005"),
        ("p00006", "p00007"),
    ]
    assert len(found.metrics["pairs"]["near_duplicate_label_conflicts"]) == 2


def test_what_is_left_out_is_told_by_its_reason() -> None:
    label = ["a", "b"] * 4
    origin = ["test", "test", "train", "train", "val", "val", "train", "train"]
    splits = np.array(["test"] * 2 + ["excluded"] * 4 + ["train"] * 2)
    content = ["x", "y", "x", *"zuvwt"]
    found = report(made_up(label, origin=origin, content=content), splits, near([]), 0)
    copies, others, validation = found.warnings
    assert copies.startswith("1 images left out, for the official test or validation set holds a c")
    assert others.startswith("3 images left out, for a group or a look-alike ties them to the off")
    assert validation.startswith("the whole official validation set is left out")


def test_lists_are_capped_and_counts_are_not() -> None:
    n = 3 * LISTED
    manifest = made_up(["a", "b"] * n)
    pairs = [(row, row + n) for row in range(n)]
    found = report(manifest, np.full(2 * n, "train"), near(pairs), 0)
    assert found.metrics["near_duplicate_pairs"] == n
    assert len(found.metrics["pairs"]["near_duplicates_within_splits"]) == LISTED
    assert found.warnings == []


def test_a_search_that_was_cut_short_says_so() -> None:
    manifest = made_up(["a", "b"])
    cut = NearDuplicates(np.zeros((0, 2), np.int64), np.zeros(0, np.int64), 2, True)
    assert "within 2 bits" in report(manifest, np.array(["train"] * 2), cut, 0).warnings[0]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_doubtful_images_are_marked(mode: str) -> None:
    noise = np.random.default_rng(0)

    def textured(seed: int) -> np.ndarray:
        grain = noise.normal(0, 20, (40, 48, 1))
        base = np.asarray(photo(seed)).astype(float)
        return np.clip(base * 0.5 + 64 + grain, 0, 255).astype(np.uint8)

    plain = [textured(seed) for seed in range(12)]
    blurred = np.asarray(Image.fromarray(plain[0]).filter(ImageFilter.GaussianBlur(4)))
    blank = np.full((40, 48, 3), 127, np.uint8)
    arrays = [*plain, plain[1] // 6, 255 - plain[2] // 17, blurred, blank]
    images = np.stack([np.asarray(Image.fromarray(p).convert(mode)) for p in arrays])
    found = image_quality(images.reshape(len(images), 40, 48, -1))
    kinds = ("dark", "bright", "blurred", "blank")
    marked = {name: np.flatnonzero(found[name]).tolist() for name in kinds}
    assert marked["dark"] == [12]
    assert marked["bright"] == [13]
    assert 14 in marked["blurred"]
    assert set(marked["blurred"]) <= {12, 13, 14}
    assert marked["blank"] == [15]
    assert not found["odd_size"].any()
    flat = images[0].astype(float) / 255
    assert found["brightness"][0] == pytest.approx(flat.mean(), abs=1e-5)


def test_odd_sizes_stand_out_and_ordinary_variety_does_not() -> None:
    images = np.zeros((30, 8, 8, 1), np.uint8)
    sizes = np.random.default_rng(0).integers(300, 500, (30, 2))
    sizes[4] = (400, 30)
    found = image_quality(images, sizes)["odd_size"]
    assert np.flatnonzero(found).tolist() == [4]
    assert len(image_quality(images[:0], sizes[:0])["odd_size"]) == 0


def test_real_digits_are_not_doubtful(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images = (load_digits().images[..., None] * 15.9375).astype(np.uint8)
    found = image_quality(images)
    for name in ("blank", "dark", "bright", "blurred"):
        assert found[name].sum() == 0, name
