"""Test images that data/corrections.csv corrected between two runs, judged alike for both."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from classifier.core.errors import UserError
from classifier.experiments.revisions import Predictions, Revision
from classifier.splits.corrections import Corrections, parse_corrections

PATH = "data/corrections.csv"


def corrections(revision: Revision) -> Corrections:
    """The table of a revision; none where it is older than the table.

    Raises:
        UserError: it cannot be read.
    """
    if not revision.has(PATH):
        return {}
    with revision.open(PATH) as file:
        return parse_corrections(file.read(), f"{PATH} of {revision.name}")


def differing_rows(names: Sequence[str], tables: Sequence[Corrections]) -> str:
    """A sentence on how much the revisions' tables hold, "" where they all hold the same."""
    if all(table == tables[0] for table in tables):
        return ""
    held = (f"{len(table):,} in {name}" for name, table in zip(names, tables, strict=True))
    return f"Rows of {PATH}: {', '.join(held)}."


def judged_alike(
    parts: Sequence[Predictions], tables: Sequence[Corrections]
) -> tuple[list[Predictions], str]:
    """Give all revisions the test images that all of them have, and the labels of the latest.

    The latest is the one whose table names every image that the others' do; of several, the last
    one. A wrong label that both models were tested with says nothing of either, so the labels of
    the latest are the truth for all. What no table explains stays as it is, and `same_images`
    refuses it.

    Args:
        parts: test predictions.
        tables: the corrections of each revision.

    Returns:
        The predictions, and a sentence on what was changed, "" if nothing was.

    Raises:
        UserError: a revision was run before its own table was last changed.
    """
    names = set().union(*tables)
    latest = next((n for n in range(len(parts))[::-1] if names == tables[n].keys()), None)
    if latest is None or any(part.classes != parts[0].classes for part in parts):
        return list(parts), ""
    shared = set.intersection(*(set(part.ids.tolist()) for part in parts))
    everywhere = [np.array([name in shared for name in part.ids.tolist()], bool) for part in parts]
    kept = [
        replace(part, ids=part.ids[rows], labels=part.labels[rows], logits=part.logits[rows])
        for part, rows in zip(parts, everywhere, strict=True)
    ]
    truth = kept[latest]
    changed = np.any([part.labels != truth.labels for part in kept], axis=0)
    lost = {name for part, rows in zip(parts, everywhere, strict=True) for name in part.ids[~rows]}
    if (not changed.any() and not lost) or not names.issuperset({*truth.ids[changed], *lost}):
        return list(parts), ""
    for name, label in zip(
        truth.ids[changed].tolist(), truth.labels[changed].tolist(), strict=True
    ):
        said = tables[latest][name].label
        if said and said != truth.classes[label]:
            raise UserError(
                f"{truth.name} was run before {PATH} called {name} {said!r}: run dvc repro there."
            )
    told = [
        f"{changed.sum():,} with another label" if changed.any() else "",
        f"{len(lost):,} left out" if lost else "",
    ]
    return [replace(part, labels=truth.labels) for part in kept], (
        f"{PATH} corrects test images ({', '.join(filter(None, told))}): all are judged by the "
        f"labels of {truth.name}, on the {len(truth.ids):,} images that all have."
    )
