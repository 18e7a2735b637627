"""Copies are found, altered ones too, and images that are merely alike are not."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from classifier.core.types import AnyArray, UInt64Array
from classifier.splits import duplicates
from classifier.splits.duplicates import correlation, equal_links, near_duplicates, near_hashes
from tests.support.manifests import packed, photo


def expect_a_full_comparison(hashes: UInt64Array, distance: int) -> None:
    """Every pair of different hashes, as comparing each with each finds them."""
    hashes = np.random.default_rng(0).permutation(np.unique(hashes))
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    expected = np.argwhere(np.triu(apart <= distance, k=1))
    found = near_hashes(hashes, distance, most=len(expected))
    assert found.pairs.tolist() == expected.tolist()
    assert found.bits.tolist() == apart[tuple(expected.T)].tolist()
    assert found.distance == distance
    assert not found.shortened


def flipped(hashes: UInt64Array, most: int, random: np.random.Generator) -> UInt64Array:
    """The hashes with up to ``most`` bits turned in each."""
    bits = np.uint64(1) << random.integers(0, 64, (most, len(hashes))).astype(np.uint64)
    return hashes ^ np.bitwise_xor.reduce(bits, axis=0, initial=np.uint64(0))


@pytest.mark.parametrize("distance", [0, 3, 8, 12])
def test_near_hashes_are_exactly_those_of_a_full_comparison(distance: int) -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 400, np.uint64)
    expect_a_full_comparison(np.concatenate([hashes, flipped(hashes, 13, random)]), distance)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    distance=st.integers(1, 12),
    shared=st.integers(1, 3),
    varying=st.integers(1, 2**64 - 1),
    centers=st.integers(1, 40),
    flips=st.integers(0, 14),
)
def test_every_choice_of_bands_finds_the_same_pairs_in_any_buckets(
    seed: int, distance: int, shared: int, varying: int, centers: int, flips: int
) -> None:
    """Few bits that vary, and clusters, make every bucket a heavy one."""
    random = np.random.default_rng(seed)
    start = random.integers(0, 2**64, centers, np.uint64, endpoint=False)
    hashes = flipped(np.repeat(start, 200 // centers), flips, random) & np.uint64(varying)
    with (
        patch.object(duplicates, "_HEAVY", 3),
        patch.object(duplicates, "_SORT", 0),
        patch.object(duplicates, "_TABLE", 0),
        patch.object(duplicates, "_MOST_SHARED", shared),
    ):
        expect_a_full_comparison(hashes, distance)


@pytest.mark.parametrize("alike", [20, 40])
def test_images_that_agree_on_many_bits_are_all_compared(alike: int) -> None:
    random = np.random.default_rng(alike)
    hashes = random.integers(0, 2**64, 6000, np.uint64)
    hashes[:4000] &= np.uint64((1 << (64 - alike)) - 1)
    expect_a_full_comparison(hashes, 3)


def test_look_alikes_are_searched_with_a_fraction_of_all_comparisons() -> None:
    """Look-alikes that share 24 bits take a tenth of the comparisons of each with each."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, 30_000, np.uint64)
    hashes &= np.uint64(2**40 - 1)
    compared = 0

    def count(values: AnyArray) -> AnyArray:
        nonlocal compared
        compared += len(values)
        return bitwise_count(values)

    bitwise_count = np.bitwise_count
    with patch.object(np, "bitwise_count", count):
        near_hashes(hashes, 8)
    assert compared < len(hashes) ** 2 / 2 / 10


def test_equal_hashes_are_paired_with_the_first() -> None:
    found = near_hashes(np.full(5, 7, np.uint64), 4)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]


def test_thousands_of_look_alikes_lower_the_distance_instead_of_filling_the_memory() -> None:
    random = np.random.default_rng(0)
    bit = np.uint64(1) << random.integers(0, 64, (4000, 3)).astype(np.uint64)
    found = near_hashes(bit[:, 0] ^ bit[:, 1] ^ bit[:, 2], 6, most=50_000)
    assert found.shortened
    assert found.distance < 6
    assert len(found.pairs) <= 50_000
    assert found.bits.max() <= found.distance


def test_only_values_that_may_link_do() -> None:
    values = np.array([7, 0, 8, 7, 0, 7])
    assert equal_links(values, values > 0).tolist() == [[0, 3], [0, 5]]
    assert equal_links(values).tolist() == [[0, 3], [1, 4], [0, 5]]


def test_correlation_agrees_with_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    found = correlation(images, np.array([[0, 1], [1, 2], [2, 2]]))
    flat = np.corrcoef(images.reshape(3, -1))
    np.testing.assert_allclose(found, [flat[0, 1], flat[1, 2], 1], atol=1e-12)


def test_altered_copies_are_found_and_other_images_are_not(tmp_path: Path) -> None:
    images = [("a", photo(seed)) for seed in range(60)]
    images.append(("a", photo(3, (96, 80))))  # another size
    images.append(("a", ImageEnhance.Brightness(photo(7)).enhance(0.7)))
    images.append(("a", photo(9).convert("L")))
    manifest = packed(tmp_path, images)
    found = near_duplicates(manifest, tmp_path, 8)
    assert found.pairs.tolist() == [[3, 60], [7, 61], [9, 62]]


def test_a_labelled_image_stands_for_those_that_share_its_hash(tmp_path: Path) -> None:
    """An unlabelled one in its place would hide how the labelled ones relate."""
    images = [("", photo(3)), ("b", photo(3, (96, 80))), ("", photo(5)), ("a", photo(5))]
    images += [("b", ImageEnhance.Brightness(photo(5)).enhance(0.7)), ("a", photo(3, (99, 80)))]
    manifest = packed(tmp_path, images)
    manifest.phash[[0, 1, 5]] = manifest.phash[1]
    found = near_duplicates(manifest, tmp_path, 8)
    assert found.pairs.tolist() == [[0, 1], [1, 5], [3, 4]]


def test_tiny_blank_and_identical_images_are_no_near_duplicates(tmp_path: Path) -> None:
    tiny = [("a", photo(1, (8, 8))), ("a", photo(1, (9, 9)))]
    blank = [("a", Image.new("RGB", (32, 32), shade)) for shade in ("white", "black")]
    same = [("a", photo(5)), ("a", photo(5))]
    manifest = packed(tmp_path, [*tiny, *blank, *same])
    assert len(near_duplicates(manifest, tmp_path, 12).pairs) == 0
