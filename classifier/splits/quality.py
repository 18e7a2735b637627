"""Report what is wrong with the images: duplicates, label conflicts, imbalance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from classifier.core.types import (
    BoolArray,
    Int64Array,
    IntegerArray,
    TextArray,
)
from classifier.images.manifest import Manifest
from classifier.splits.duplicates import NearDuplicates, Pairs, equal_links

if TYPE_CHECKING:
    import pandas as pd

_LABELLED = ("train", "val", "test")
LISTED = 100  # pairs of each kind that the report names; the counts cover all


@dataclass(frozen=True)
class Quality:
    """``metrics`` for a JSON file and ``warnings``, sentences for the user."""

    metrics: dict[str, Any]
    warnings: list[str]


def report(
    manifest: Manifest,
    splits: TextArray,
    near: NearDuplicates,
    rejected: int,
    left_out: BoolArray | None = None,
) -> Quality:
    """Count what may spoil training or flatter the test figures, and name the images.

    At the top of the metrics stand numbers, few enough for one screen:

    - ``images``, ``rejected``: images that were taken in, and files that could not be decoded;
    - ``excluded``: images left out because something ties them to an official set;
      ``excluded_copies``: those of them that the official set holds too, pixel for pixel;
    - ``exact_duplicates``: images whose pixels another one has that stands for them;
      ``label_conflicts``: those of them whose label differs from that one's;
    - ``exact_duplicates_across_splits``, ``groups_across_splits``: contents and groups that are in
      two of train, val and test, counted on the finished division: always 0;
    - ``near_duplicate_pairs``: pairs that look the same; ``near_duplicates_across_splits``: those
      whose images, or copies of them, are in two of train, val and test;
    - ``smallest_class``: labelled images of the rarest class; ``imbalance``: those of the most
      frequent class divided by it.

    ``pairs`` lists up to ``LISTED`` pairs of each kind, the nearest first; DVC shows numbers and
    leaves lists alone. Images ``left_out`` [N] by corrections are not counted as excluded.
    """
    used = np.isin(splits, _LABELLED)
    # Of copies, one that is used stands for the others: an unlabelled one would hide what they say.
    foremost = np.lexsort((manifest.label == "", ~used))
    exact = foremost[equal_links(manifest.content[foremost])]
    stands_in = np.arange(len(manifest))
    stands_in[exact[:, 1]] = exact[:, 0]
    alike = stands_in[near.pairs]
    conflicts = exact[_differ(manifest.label, exact)]
    across = _across(splits, alike)
    excluded = splits == "excluded"
    if left_out is not None:
        excluded &= ~left_out
    grouped = used & (manifest.group != "")
    sizes = manifest.label[used].value_counts()
    sizes = sizes[sizes > 0]
    metrics: dict[str, Any] = {
        "images": len(manifest),
        "rejected": rejected,
        "excluded": int(excluded.sum()),
        "excluded_copies": int((excluded & used[stands_in]).sum()),
        "exact_duplicates": len(exact),
        "exact_duplicates_across_splits": _divided(stands_in[used], splits[used]),
        "label_conflicts": len(conflicts),
        "groups_across_splits": _divided(manifest.group.codes[grouped], splits[grouped]),
        "near_duplicate_pairs": len(alike),
        "near_duplicates_across_splits": int(across.sum()),
        "smallest_class": int(sizes.min()),
        "imbalance": float(sizes.max() / sizes.min()),
    }
    nearest = np.argsort(near.bits, kind="stable")
    torn, whole = nearest[across[nearest]], nearest[~across[nearest]]
    other = nearest[_differ(manifest.label, alike[nearest])]

    def listed(pairs: Pairs, bits: Int64Array | None = None) -> list[dict[str, Any]]:
        return _listed(manifest, splits, pairs, bits)

    metrics["pairs"] = {
        "exact_duplicates": listed(exact),
        "label_conflicts": listed(conflicts),
        "near_duplicate_label_conflicts": listed(alike[other], near.bits[other]),
        "near_duplicates_across_splits": listed(alike[torn], near.bits[torn]),
        "near_duplicates_within_splits": listed(alike[whole], near.bits[whole]),
    }
    warnings = _warnings(metrics)
    official = (manifest.origin == "val") & (manifest.label != "")
    if official.any() and excluded[official].all():
        warnings.append(
            "the whole official validation set is left out, so that images of train validate"
        )
    if near.shortened:
        warnings.append(
            f"near-duplicates are only those within {near.distance} bits: too many images are "
            "alike to list the others"
        )
    return Quality(metrics, warnings)


def _differ(labels: "pd.Categorical[str]", pairs: Pairs) -> BoolArray:
    first, second = labels[pairs[:, 0]], labels[pairs[:, 1]]
    return (first != second) & (first != "") & (second != "")


def _across(splits: TextArray, pairs: Pairs) -> BoolArray:
    used = np.isin(splits, _LABELLED)
    first, second = pairs[:, 0], pairs[:, 1]
    return used[first] & used[second] & (splits[first] != splits[second])


def _divided(values: IntegerArray, splits: TextArray) -> int:
    """How many values occur in more than one split."""
    _, split = np.unique(splits, return_inverse=True)
    places = np.unique(np.asarray(values, np.int64) * len(_LABELLED) + split)
    return int((np.unique(places // len(_LABELLED), return_counts=True)[1] > 1).sum())


def _listed(
    manifest: Manifest, splits: TextArray, pairs: Pairs, bits: Int64Array | None
) -> list[dict[str, Any]]:
    rows = []
    for at, (first, second) in enumerate(pairs[:LISTED].tolist()):
        row: dict[str, Any] = {} if bits is None else {"bits": int(bits[at])}
        for name, image in (("first", first), ("second", second)):
            row[name] = str(manifest.id[image])
            row[f"{name}_label"] = str(manifest.label[image])
            row[f"{name}_split"] = str(splits[image])
        rows.append(row)
    return rows


def _warnings(metrics: Mapping[str, Any]) -> list[str]:
    counts = {**metrics, "excluded_others": metrics["excluded"] - metrics["excluded_copies"]}
    sentences = {
        "excluded_copies": "images left out, for the official test or validation set holds a copy "
        "of them",
        "excluded_others": "images left out, for a group or a look-alike ties them to the official "
        "test or validation set (download.group_column and split.near_duplicates say what ties)",
        "label_conflicts": "images with another label than an identical image",
        "near_duplicates_across_splits": "pairs of near-duplicates across splits "
        "(split.near_duplicates: together prevents them)",
    }
    return [f"{counts[name]:,} {text}" for name, text in sentences.items() if counts[name]]
