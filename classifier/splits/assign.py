"""Divide labelled images into train, validation and test: stratified, grouped, reproducible.

What belongs together (a group, exact duplicates, on request near-duplicates, and all that these
link in turn) forms one unit, and no unit is in two of train, validation and test. The order in
which units are taken is a hash of seed, purpose and id: it does not depend on the order of the
rows, a new image moves few of the others, and the test set does not change with the validation
fraction or the fold.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from classifier.core.errors import UserError
from classifier.core.types import BoolArray, Int64Array, TextArray, UInt64Array
from classifier.images.manifest import Manifest
from classifier.splits.duplicates import Pairs, equal_links

_Unit = tuple[int, list[tuple[int, int]]]  # its number, and (class, images) for each class in it


@dataclass(frozen=True)
class SplitParams:
    """How the labelled images are divided; params.yaml explains the keys."""

    seed: int
    test_fraction: Annotated[float, Interval(gt=0, lt=1)]
    val_fraction: Annotated[float, Interval(gt=0, lt=1)]
    folds: Annotated[int, Interval(ge=0, le=1000)] = 0
    fold: Annotated[int, Interval(ge=0)] = 0
    near_duplicates: Literal["report", "together"] = "report"
    near_duplicate_distance: Annotated[int, Interval(ge=0, le=12)] = 8

    def __post_init__(self) -> None:
        if self.folds == 1:
            raise UserError("split.folds is 1: give 0 for a single division, or at least 2.")
        if self.folds and self.fold >= self.folds:
            raise UserError(
                f"split.fold is {self.fold}: with split.folds {self.folds} give 0 to "
                f"{self.folds - 1}."
            )
        if self.fold and not self.folds:
            raise UserError(f"split.fold is {self.fold} but split.folds is 0: set split.folds.")


def assign(manifest: Manifest, params: SplitParams, near_pairs: Pairs | None = None) -> TextArray:
    """Give each image of the manifest its split.

    A labelled official test set stays the test set, and an official validation set stays one unless
    folds are asked for. Images without a label become ``unlabelled``, and link others all the same.
    An image of a unit that an official set holds a part of (a copy, an image of its group) becomes
    ``excluded``: no later stage uses it. Where a unit is in both official sets, test keeps it.

    Args:
        manifest: the images.
        params: fractions, seed, folds.
        near_pairs: [P, 2] rows of the manifest to treat like exact duplicates, or None.

    Returns:
        [N] one of ``SPLITS`` for each image, in the order of the manifest.

    Raises:
        UserError: there are fewer than two classes, or one has too few images to be divided.
    """
    named = manifest.label[manifest.label != ""].remove_unused_categories()
    classes = named.categories.to_numpy(np.str_)
    if len(classes) < 2:
        raise UserError(
            f"the data has {len(classes)} class{'' if len(classes) == 1 else 'es'}, and "
            "classification needs at least 2: check download.path and the labels."
        )
    unit = units(manifest, near_pairs)
    split = _official(manifest, unit, keep_val=not params.folds)
    has_test, has_val = (bool((split == name).any()) for name in ("test", "val"))

    free = np.flatnonzero(split == "")
    unit = np.unique(unit[free], return_inverse=True)[1]
    number = named.categories.get_indexer(manifest.label.categories)  # -1: no class
    label = number[manifest.label.codes[free]]
    parts = params.folds or (1 if has_val else 2)
    lost = number[manifest.label.codes[split == "excluded"]]
    _check_sizes(classes, label, unit, parts, has_test, np.bincount(lost, minlength=len(classes)))
    pool = _Pool(unit, label, manifest.id[free], len(classes), params.seed)
    rest = np.ones(len(free), bool)
    if not has_test:
        test = pool.choose(rest, params.test_fraction, parts, "test")
        split[free[test]] = "test"
        rest &= ~test
    if params.folds:
        for fold in range(params.fold + 1):
            later = params.folds - 1 - fold
            val = pool.choose(rest, 1 / (later + 1), later, f"fold {fold}") if later else rest
            rest = rest & ~val
        split[free[val]] = "val"
    elif not has_val:
        split[free[pool.choose(rest, params.val_fraction, 1, "val")]] = "val"
    split[split == ""] = "train"
    _check_complete(classes, manifest, split)
    return split


def _official(manifest: Manifest, unit: Int64Array, keep_val: bool) -> TextArray:
    """What is settled before anything is divided; "" where it is not."""
    split = np.where(manifest.label == "", "unlabelled", "").astype("<U10")
    for name in ("test", "val") if keep_val else ("test",):
        split[(split == "") & (manifest.origin == name)] = name
        held = np.unique(unit[split == name])
        split[(split == "") & np.isin(unit, held)] = "excluded"
    return split


def _check_sizes(
    classes: TextArray,
    label: Int64Array,
    unit: Int64Array,
    parts: int,
    has_test: bool,
    excluded: Int64Array,
) -> None:
    """Every class needs a unit for each part that it is to be divided into."""
    needed = parts + (not has_test)
    images = np.bincount(label, minlength=len(classes))
    units = np.bincount(np.unique(np.stack([unit, label]), axis=1)[1], minlength=len(classes))
    smallest = int(np.argmin(units))
    if units[smallest] >= needed:
        return
    count, groups = images[smallest], units[smallest]
    have = f"{count} image{'' if count == 1 else 's'}"
    if groups != count:
        have += f" in {groups} group{'' if groups == 1 else 's'} that stay together"
    if excluded[smallest]:
        raise UserError(
            f"class {str(classes[smallest])!r} has {have} to divide and needs {needed}: "
            f"{excluded[smallest]:,} more are left out, for the official test or validation set "
            "holds a copy, a look-alike or an image of their group; check download.group_column, "
            "or leave the official sets out."
        )
    if has_test and not count:
        raise UserError(
            f"class {str(classes[smallest])!r} has no image to train on, only official test or "
            "validation images: add some, or remove the class from those."
        )
    raise UserError(
        f"class {str(classes[smallest])!r} has {have} to divide, and at least {needed} are needed, "
        "one for each part: add images, remove the class, or ask for fewer folds."
    )


def _check_complete(classes: TextArray, manifest: Manifest, split: TextArray) -> None:
    for name in ("train", "val", "test"):
        missing = np.setdiff1d(classes, manifest.label[split == name].unique())
        if len(missing) and (name == "train" or len(missing) == len(classes)):
            raise UserError(
                f"the {name} split has no image of class {str(missing[0])!r}: its groups and "
                "duplicates leave none over, so add images of it or remove the class."
            )


class _Pool:
    """Images that may be divided, as units of one or more images of one or more classes."""

    def __init__(
        self, unit: Int64Array, label: Int64Array, ids: TextArray, classes: int, seed: int
    ) -> None:
        self.unit, self.label, self.ids, self.classes, self.seed = unit, label, ids, classes, seed

    def choose(self, among: BoolArray, fraction: float, keep: int, purpose: str) -> BoolArray:
        """Mark about ``fraction`` of each class ``among`` the images, never part of a unit.

        Units of several images are placed first, large before small, each on the side that keeps
        the class fractions closest to the fraction; single images then fill what each class lacks,
        exactly. Each class keeps at least ``keep`` units unmarked, and has one marked where it can.
        """
        rows = np.flatnonzero(among)
        total = np.bincount(self.label[rows], minlength=self.classes)
        pairs = np.unique(np.stack([self.unit[rows], self.label[rows]]), axis=1)
        spare = np.bincount(pairs[1], minlength=self.classes) - keep
        single = np.bincount(self.unit[rows], minlength=len(self.unit))[self.unit[rows]] == 1
        units = self._units(rows[~single], purpose)
        wanting = np.bincount(self.label[rows[single]], minlength=self.classes) == 0
        marked = _place(units, total, fraction, spare.tolist(), wanting.tolist())
        chosen = np.isin(self.unit, marked)
        taken = np.bincount(self.label[chosen], minlength=self.classes)
        spare -= np.bincount(pairs[1][np.isin(pairs[0], self.unit[chosen])], minlength=self.classes)

        rows = rows[single]
        label = self.label[rows]
        available = np.bincount(label, minlength=self.classes)
        # Rounding the running sum over the classes gives every class its fraction rounded up or
        # down, and the whole its fraction rounded.
        running = np.concatenate([[0.0], np.cumsum(total * fraction - taken)])
        quota = np.diff(np.floor(running + 0.5)).astype(int)
        quota = np.maximum(quota, taken == 0)
        quota = np.clip(quota, 0, np.maximum(0, np.minimum(available, spare)))
        order = np.lexsort((self._keys(rows, purpose), label))
        rank = np.empty(len(rows), int)
        rank[order] = np.arange(len(rows)) - np.repeat(np.cumsum(available) - available, available)
        chosen[rows[rank < quota[label]]] = True
        return chosen

    def _units(self, rows: Int64Array, purpose: str) -> list[_Unit]:
        """The units of the rows, large before small and otherwise in hashed order."""
        if not len(rows):
            return []
        names, first, sizes = np.unique(self.unit[rows], return_index=True, return_counts=True)
        keys = self._keys(rows[first], purpose)
        # Sizes in powers of two: a strict order by size would leave the seed nothing to decide.
        order = np.lexsort((keys, -np.floor(np.log2(sizes))))
        content: dict[int, list[tuple[int, int]]] = {int(name): [] for name in names[order]}
        pairs, counts = np.unique(
            np.stack([self.unit[rows], self.label[rows]]), axis=1, return_counts=True
        )
        for name, label, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            content[name].append((label, count))
        return list(content.items())

    def _keys(self, rows: Int64Array, purpose: str) -> UInt64Array:
        """[len(rows)] pseudo-random numbers that depend on seed, purpose and the image's id."""
        start = hashlib.blake2b(f"{self.seed}\n{purpose}\n".encode(), digest_size=8)

        def key(name: str) -> int:
            digest = start.copy()
            digest.update(name.encode())
            return int.from_bytes(digest.digest())

        return np.fromiter(map(key, self.ids[rows]), np.uint64, len(rows))


def _place(
    units: list[_Unit], total: Int64Array, fraction: float, spare: list[int], wanting: list[bool]
) -> list[int]:
    """The numbers of the units to mark: greedy on the chi-square distance to the wanted fractions.

    ``spare`` is how many units of each class may be marked, ``wanting`` says which classes have
    no single images to mark later.
    """
    want = (total * fraction).tolist()
    rest_want = (total * (1 - fraction)).tolist()
    have, rest_have = [0] * len(total), [0] * len(total)
    marked = []
    left = []
    for name, content in units:
        cost = sum(n * (2 * have[c] + n) / want[c] for c, n in content)
        rest_cost = sum(n * (2 * rest_have[c] + n) / rest_want[c] for c, n in content)
        allowed = all(spare[c] > 0 for c, _ in content)
        side = have if allowed and cost < rest_cost else rest_have
        for c, n in content:
            side[c] += n
        if side is have:
            marked.append(name)
            for c, _ in content:
                spare[c] -= 1
        else:
            left.append((name, content))
    # Of a class whose units are all large none may have been marked: take its smallest.
    for name, content in reversed(left):
        missing = any(wanting[c] and not have[c] for c, _ in content)
        if missing and all(spare[c] > 0 for c, _ in content):
            marked.append(name)
            for c, n in content:
                have[c] += n
                spare[c] -= 1
    return marked


def units(manifest: Manifest, near_pairs: Pairs | None = None) -> Int64Array:
    """Number the units of all images, unlabelled ones too: [N], equal numbers belong together.

    ``near_pairs`` [P, 2] are rows of the manifest to treat like exact duplicates.
    """
    n = len(manifest)
    links = [
        equal_links(manifest.group.codes, manifest.group != ""),
        equal_links(manifest.content),
        *([] if near_pairs is None else [near_pairs]),
    ]
    first, second = np.concatenate(links).T
    linked = coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    return np.asarray(connected_components(linked, directed=False)[1], np.int64)
