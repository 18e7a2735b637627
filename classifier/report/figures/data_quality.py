"""Galleries of what may be wrong with the data: labels, duplicates, and the images themselves."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from classifier.report.figures.tiles import Tile, percent
from classifier.report.image_quality import image_quality
from classifier.report.results import Results

# Kinds of doubtful images, as classifier.splits.quality names them, in words.
DOUBTS = {
    "blank": "blank",
    "dark": "dark",
    "bright": "bright",
    "blurred": "blurred",
    "odd_size": "odd size",
}


# Pairs of images, as metrics/quality.json lists them, the most harmful first.
EXACT = ("label_conflicts", "exact_duplicates")
PAIRS = ("near_duplicates_across_splits", *EXACT, "near_duplicate_label_conflicts",
         "near_duplicates_within_splits")  # fmt: skip


def label_errors(results: Results, most: int) -> tuple[list[Tile], float]:
    """Images of val and test whose label is rather wrong than right, most suspicious first.

    Also how many of them are expected to be wrong. Where the network is too weak for such a claim,
    or the labels are too good, there are none: it must also put the suggested class at a half above
    the given one, which a network that guesses never does.
    """
    found = results.explained("label_errors", row=int, score=float, error_probability=float)
    likely = [row for row in found if min(row["error_probability"], row["score"]) >= 0.5][:most]
    tiles = [
        Tile(
            [results.image(row["split"], row["row"])],
            f"given {row['given']}",
            f"rather {row['suggested']}? {percent(row['error_probability'])}",
        )
        for row in likely
    ]
    return tiles, sum(row["error_probability"] for row in likely)


def duplicates(results: Results, most: int) -> list[Tile]:
    """Pairs of identical and of near images, within and across splits."""
    listed = results.metrics("quality").get("pairs", {})
    tiles: dict[tuple[str, str], Tile] = {}
    # A few of each kind rather than all of one.
    for turn in zip_longest(*(listed.get(kind, ()) for kind in PAIRS)):
        for kind, pair in zip(PAIRS, turn, strict=True):
            if pair is None or len(tiles) == most:
                continue
            ids = (pair["first"], pair["second"])
            exact = kind in EXACT
            places = [results.places[name] for name in ids if name in results.places]
            if len(places) == 1 and exact:
                places *= 2  # the other was left out of the splits, and has the same pixels
            if len(places) == 2:
                tiles.setdefault(ids, _pair(results, pair, places, exact))
    return list(tiles.values())


def _pair(
    results: Results, pair: dict[str, str], places: Sequence[tuple[str, int]], exact: bool
) -> Tile:
    labels, splits = ([pair[f"{end}_{what}"] for end in ("first", "second")]
                      for what in ("label", "split"))  # fmt: skip
    doubtful = splits[0] != splits[1] or labels[0] != labels[1]
    return Tile(
        [results.image(split, row) for split, row in places],
        " · ".join(dict.fromkeys(labels)),
        f"{'= ' if exact else ''}{' · '.join(splits)}",
        "wrong" if doubtful else "plain",
        places=2,
    )


def leaks(results: Results, most: int) -> list[Tile]:
    """Images of val and test beside the training image that they may be copies of."""
    tiles = []
    for row in results.explained("leaks", row=int, train_row=int, ratio=float)[:most]:
        labels = (row["own_label"], row["label"])
        tiles.append(
            Tile(
                [results.image(row["split"], row["row"]), results.image("train", row["train_row"])],
                " · ".join(dict.fromkeys(labels)),
                f"{row['split']} · train",
                "plain" if labels[0] == labels[1] else "wrong",
                places=2,
            )
        )
    return tiles


def doubtful(results: Results, most: int) -> list[Tile]:
    """Images that `classifier.report.image_quality.image_quality` marks, of every split."""
    found: dict[str, list[Tile]] = {name: [] for name in DOUBTS}
    for split in results.data.splits:
        measured = image_quality(results.data.images(split), results.data.sizes(split))
        shown: set[int] = set()
        for name, tiles in found.items():
            rows = [row for row in np.flatnonzero(measured[name]).tolist() if row not in shown]
            rows = rows[: most - len(tiles)]
            for row, image in zip(rows, results.data.ids(split, np.array(rows, int)), strict=True):
                shown.add(row)
                doubts = ", ".join(word for kind, word in DOUBTS.items() if measured[kind][row])
                tiles.append(Tile([results.image(split, row)], f"{doubts}, {split}", image))
    # A few of each kind rather than all of one.
    kinds = list(found.values())
    order = sorted((place, kind) for kind, tiles in enumerate(kinds) for place in range(len(tiles)))
    return [kinds[kind][place] for place, kind in order[:most]]
