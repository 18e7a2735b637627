"""Find images that occur twice: identical pixels, and images that merely look the same.

Near-duplicates are found in two steps. Perceptual hashes that differ in a few bits propose pairs,
and the correlation of the two images at 32×32 pixels confirms them: among hundreds of millions of
pairs some hashes agree by chance, above all of images with a small object on an even ground.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np

from classifier.core.types import (
    AnyArray,
    BoolArray,
    Float64Array,
    Int64Array,
    UInt8Array,
    UInt64Array,
)
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
_PLACES = np.arange(64, dtype=np.uint64)
_HEAVY = 1024  # values of a bucket beyond which a search in it costs less than all comparisons
# What sorting costs for each value, and one choice of bands by itself, in comparisons.
_SORT, _TABLE = 3, 4000
_MOST_SHARED = 6

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


def equal_links(values: AnyArray, linking: BoolArray | None = None) -> Pairs:
    """[L, 2] rows: each row linked to the first row of the same value, where it is ``linking``."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    start, rows = first[inverse], np.arange(len(values))
    linked = start != rows
    if linking is not None:
        linked &= linking
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

    Memory stays bounded: where there are more than ``most`` pairs, the distance is lowered until
    there are not, and the search begins anew.
    """
    wanted = distance
    values, first = np.unique(hashes, return_index=True)
    same = equal_links(hashes)
    complete = False
    while not complete:
        found = [np.zeros((0, 2), np.int64)]
        bits = [np.zeros(0, np.int64)]
        held = len(same)
        for ends, differing in _pairs_within(values, distance) if distance else ():
            found.append(ends)
            bits.append(differing)
            held += len(ends)
            if held > most:
                break
        else:
            complete = True
        counts = np.concatenate(bits)
        while not complete and distance and len(same) + (counts <= distance).sum() > most:
            distance -= 1
    rows = np.concatenate([same, np.sort(first[np.concatenate(found)], axis=1)])
    counts = np.concatenate([np.zeros(len(same), np.int64), counts])
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    return NearDuplicates(rows[order], counts[order], distance, distance < wanted)


def _pairs_within(
    values: UInt64Array, distance: int, apart: Sequence[np.uint64] = ()
) -> Iterator[tuple[Pairs, Int64Array]]:
    """Yield the pairs of different values at most ``distance`` bits apart, each pair once.

    Of ``distance + s`` bands of bits, two such values agree on at least ``s`` (the pigeonhole
    principle; Manku, Jain, Das Sarma, "Detecting near-duplicates for web crawling", WWW 2007).
    So for each choice of ``s`` bands only the values that agree on them, a bucket, are compared. A
    heavy bucket, as look-alikes make them, is searched in the same way by the bits that still vary.

    Args:
        values: [N], all different.
        distance: bits, at least 1.
        apart: masks; pairs that agree on all bits of one of them are left out.

    Yields:
        [P, 2] positions in ``values``, and [P] in how many bits the two differ.
    """
    ones = np.array([np.count_nonzero(values & (np.uint64(1) << place)) for place in _PLACES])
    places = np.flatnonzero((ones > 0) & (ones < len(values))).tolist()
    if any(not int(mask) & sum(1 << place for place in places) for mask in apart):
        return
    shared = _shared_bands(ones[places] / len(values), len(values), distance)
    number = distance + shared
    bands = [sum(1 << place for place in places[band::number]) for band in range(number)]
    for chosen in combinations(range(number), shared):
        # What agrees on an earlier band too was compared with an earlier choice.
        earlier = set(range(max(chosen, default=0))).difference(chosen)
        elsewhere = [*apart, *(np.uint64(bands[band]) for band in earlier)]
        key = values & np.uint64(sum(bands[band] for band in chosen))
        order = np.argsort(key)
        key = key[order]
        edges = np.concatenate([[0], np.flatnonzero(np.diff(key)) + 1, [len(key)]])
        sizes = np.diff(edges)
        later = np.repeat(edges[1:], sizes) - np.arange(len(key)) - 1
        for bucket in np.flatnonzero(sizes > _HEAVY) if shared else ():
            here = slice(edges[bucket], edges[bucket + 1])
            later[here] = 0
            members = order[here]
            for ends, differing in _pairs_within(values[members], distance, elsewhere):
                yield members[ends], differing
        value = values[order]
        step, active = 1, np.flatnonzero(later)
        while len(active):  # every value with the one that comes `step` after it in its bucket
            difference = value[active] ^ value[active + step]
            differing = np.bitwise_count(difference)
            hit = np.flatnonzero(differing <= distance)
            for mask in elsewhere:
                hit = hit[(difference[hit] & mask) != 0]
            if len(hit):
                ends = order[np.stack([active[hit], active[hit] + step], axis=1)]
                yield ends, differing[hit].astype(np.int64)
            step += 1
            active = active[later[active] >= step]


def _shared_bands(ones: Float64Array, count: int, distance: int) -> int:
    """On how many bands to agree: the number for which ``count`` values take least time.

    More bands that must agree make smaller buckets, and more choices of bands. 0 compares every
    value with every other. ``ones`` is the fraction of values that have each of the bits.
    """
    # Two values agree on a bit with this probability, and taken as independent, on a band with 2 to
    # the power of minus its part of the sum.
    information = -np.log2(ones**2 + (1 - ones) ** 2).sum()

    def cost(shared: int) -> float:
        buckets = 2.0 ** (information * shared / (distance + shared))
        return comb(distance + shared, shared) * (_TABLE + count * (_SORT + count / 2 / buckets))

    return min(range(max(1, min(_MOST_SHARED, len(ones) - distance) + 1)), key=cost)


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
