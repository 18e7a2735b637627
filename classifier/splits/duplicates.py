"""Find images that occur twice: identical pixels, and images that merely look the same.

Near-duplicates are found in two steps. Perceptual hashes that differ in a few bits propose pairs,
and the correlation of the two images at 32×32 pixels confirms them: among hundreds of millions of
pairs some hashes agree by chance, above all of images with a small object on an even ground.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from classifier.core.types import Float64Array, Int64Array, TextArray, UInt8Array, UInt64Array
from classifier.images.decode import inspect
from classifier.images.hashing import thumbnail
from classifier.images.manifest import Manifest
from classifier.images.parallel import ordered_map
from classifier.images.store import read_bytes

# Pearson correlation of brightness from which a proposed pair counts: unmoved by exposure and
# contrast. On CIFAR-10, 0.85 parts re-cropped and re-colored copies from look-alikes.
LEAST_CORRELATION = 0.85
# A 64-bit hash says nothing of an image with hardly more pixels than that: different
# handwritten digits of 8×8 pixels share theirs.
LEAST_SIDE = 16
# Even surfaces and stripes have few frequencies, so their hashes are alike whatever they show.
_LEAST_BITS = 16
MOST_PAIRS = 200_000

Pairs = Int64Array


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of images that look the same.

    ``pairs`` [P, 2] are rows of the manifest, the smaller first, in ascending order; ``bits`` [P]
    is how many bits of their hashes differ. ``distance`` is the number of bits up to which the
    search is complete, and ``shortened`` says that it is less than was asked for, because there
    would be more than ``MOST_PAIRS``. Of images with equal hashes each is paired with the first
    alone.
    """

    pairs: Pairs
    bits: Int64Array
    distance: int
    shortened: bool


def equal_links(values: TextArray | UInt64Array) -> Pairs:
    """[L, 2] rows: each row linked to the first row of the same value; "" links nothing."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    start, rows = first[inverse], np.arange(len(values))
    linked = start != rows
    if values.dtype.kind == "U":
        linked &= values != ""
    return np.stack([start[linked], rows[linked]], axis=1)


def near_duplicates(
    manifest: Manifest, raw: Path, distance: int, workers: int = 0
) -> NearDuplicates:
    """Find the pairs of images that look the same without being identical.

    Images with a side under ``LEAST_SIDE`` and blank ones take no part.

    Args:
        manifest: the images.
        raw: the folder with the shards.
        distance: bits of 64 in which two perceptual hashes may differ.
        workers: processes that decode the proposed images; 0 for one a core.
    """
    side = np.minimum(manifest.width, manifest.height)
    able = (side >= LEAST_SIDE) & (np.bitwise_count(manifest.phash) >= _LEAST_BITS)
    # The first stands for identical images and for those of equal hash: best one that has a label.
    order = np.argsort(manifest.label == "", kind="stable")
    able[order[equal_links(manifest.content[order])[:, 1]]] = False
    rows = order[able[order]]
    found = near_hashes(manifest.phash[rows], distance)
    pairs = np.sort(rows[found.pairs], axis=1)
    seen, at = np.unique(pairs, return_inverse=True)
    small = thumbnails(manifest, raw, seen, workers)
    kept = np.lexsort((pairs[:, 1], pairs[:, 0]))
    kept = kept[(correlation(small, at.reshape(-1, 2)) >= LEAST_CORRELATION)[kept]]
    return NearDuplicates(pairs[kept], found.bits[kept], found.distance, found.shortened)


def near_hashes(hashes: UInt64Array, distance: int, most: int = MOST_PAIRS) -> NearDuplicates:
    """All pairs of 64-bit hashes that differ in at most ``distance`` bits.

    Two such hashes agree on at least one of ``distance + 1`` bands of bits (the pigeonhole
    principle; Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007), so
    only hashes in one bucket of a band are compared. Memory stays bounded: once there are more than
    ``most`` pairs, the farthest are given up and the distance is lowered.
    """
    wanted = distance
    values, first = np.unique(hashes, return_index=True)
    same = equal_links(hashes)
    pairs = [same]
    bits = [np.zeros(len(same), np.int64)]
    held = len(same)
    edges = [64 * band // (distance + 1) for band in range(distance + 2)]
    masks = [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(edges)]
    for band, mask in enumerate(masks):
        key = values & mask
        order = np.argsort(key, kind="stable")
        key, value = key[order], values[order]
        later = np.searchsorted(key, key, side="right") - np.arange(len(key)) - 1
        step, active = 1, np.flatnonzero(later)
        while len(active):  # every hash with the one that comes `step` after it in its bucket
            difference = value[active] ^ value[active + step]
            count = np.bitwise_count(difference)
            hit = np.flatnonzero(count <= distance)
            # A pair that agrees on an earlier band too was found there.
            new = np.ones(len(hit), bool)
            for earlier in masks[:band]:
                new &= (difference[hit] & earlier) != 0
            hit = hit[new]
            if len(hit):
                ends = np.stack([active[hit], active[hit] + step], axis=1)
                pairs.append(np.sort(first[order[ends]], axis=1))
                bits.append(count[hit].astype(np.int64))
                held += len(hit)
                if held > most:
                    pairs, bits, distance = _nearest(pairs, bits, distance, most)
                    held = len(bits[0])
            step += 1
            active = active[later[active] >= step]
    rows, counts = np.concatenate(pairs), np.concatenate(bits)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    return NearDuplicates(rows[order], counts[order], distance, distance < wanted)


def thumbnails(manifest: Manifest, raw: Path, rows: Int64Array, workers: int = 0) -> UInt8Array:
    """[len(rows), 32, 32] gray images, decoded from the shards."""
    if not len(rows):
        return np.zeros((0, 32, 32), np.uint8)
    if int(manifest.size[rows].sum()) < 4 << 20:
        workers = 1  # starting processes would take longer
    places = list(
        zip(manifest.shard[rows].tolist(), manifest.offset[rows].tolist(),
            manifest.size[rows].tolist(), strict=True)
    )  # fmt: skip
    pieces = [places[start : start + 64] for start in range(0, len(places), 64)]
    return np.concatenate(list(ordered_map(partial(_decode, raw), pieces, workers)))


def correlation(images: UInt8Array, pairs: Pairs) -> Float64Array:
    """[P] Pearson correlation of the pixels of images [N, H, W], for pairs of their rows."""
    result = np.zeros(len(pairs))
    for start in range(0, len(pairs), 1024):
        part = pairs[start : start + 1024]
        a, b = (images[part[:, side]].reshape(len(part), -1).astype(np.float64) for side in (0, 1))
        a -= a.mean(axis=1, keepdims=True)
        b -= b.mean(axis=1, keepdims=True)
        scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        result[start : start + 1024] = (a * b).sum(axis=1) / np.maximum(scale, 1e-9)
    return result


def _decode(raw: Path, places: list[tuple[str, int, int]]) -> UInt8Array:
    return np.stack([thumbnail(inspect(read_bytes(raw, *place)).preview) for place in places])


def _nearest(
    pairs: list[Pairs], bits: list[Int64Array], distance: int, most: int
) -> tuple[list[Pairs], list[Int64Array], int]:
    """Give up the farthest pairs, whole distances at a time, until at most ``most`` are left."""
    rows, counts = np.concatenate(pairs), np.concatenate(bits)
    while len(counts) > most and distance > 0:
        distance -= 1
        near = counts <= distance
        rows, counts = rows[near], counts[near]
    return [rows], [counts], distance
