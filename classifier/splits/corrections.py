"""What people decided about single images, over what the source says of them.

A small table that Git keeps, so that `git log` says who changed which label, and when. The data
that came from the source stay as they are. Corrections take effect after the division and move no
image from one split to another: models made before and after them are tested on the same images.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from classifier.core.csv_files import unguarded
from classifier.core.errors import UserError, suggestion
from classifier.core.types import BoolArray, Int64Array, TextArray
from classifier.images.manifest import Manifest
from classifier.splits.assign import units
from classifier.splits.duplicates import Pairs

if TYPE_CHECKING:
    import pandas as pd

# What may be decided, and whether that takes a label.
ACTIONS = {"relabel": True, "exclude": False, "keep": False, "label": True}
_MERGING = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")  # how Git marks what it could not merge


class Correction(NamedTuple):
    """One row of the table.

    ``action`` is one of ``ACTIONS``: ``relabel`` a labelled image, ``label`` an unlabelled one,
    ``exclude`` one, or ``keep`` it as it is, which says that somebody has looked. ``label`` is a
    class for the first two and empty for the others, ``reason`` any text, ``date`` like 2026-03-31.
    """

    id: str
    action: str
    label: str
    reason: str
    date: str


Corrections = Mapping[str, Correction]  # by id


@dataclass(frozen=True)
class Corrected:
    """The images as they are with the corrections.

    ``manifest`` has the labels that hold, ``splits`` [N] the split of each; ``left_out`` [N] says
    which images the corrections exclude, and ``copies`` how many of these were newly labelled and
    belong together with an image of val or test.
    """

    manifest: Manifest
    splits: TextArray
    left_out: BoolArray
    copies: int


def read_corrections(path: str | Path) -> dict[str, Correction]:
    """Read the table, in its order; a file that is not there corrects nothing.

    Raises:
        UserError: a row is not as `Correction` says, or names an image a second time; the sentence
            has its line.
    """
    try:
        return parse_corrections(Path(path).read_bytes(), path)
    except FileNotFoundError:
        return {}


def parse_corrections(data: bytes, name: str | Path) -> dict[str, Correction]:
    """As `read_corrections`, of a file's content; ``name`` says in errors whose it is."""
    found: dict[str, Correction] = {}
    lines: dict[str, int] = {}
    for line, cells in _rows(data, name):
        where = f"{name}, line {line}"
        if cells[0].startswith(_MERGING):
            raise UserError(f"{where} is a mark of Git's: settle the merge conflict.")
        if len(cells) != len(Correction._fields):
            raise UserError(
                f"{where} has {len(cells)} cells where {len(Correction._fields)} belong "
                f"({', '.join(Correction._fields)}): put text with commas into quotation marks."
            )
        row = Correction(*cells)
        if not row.id:
            raise UserError(f"{where} has no id: name the image, or remove the row.")
        if row.action not in ACTIONS:
            raise UserError(
                f"{where}: {row.action!r} is not an action{suggestion(row.action, ACTIONS)}."
            )
        if ACTIONS[row.action] != bool(row.label):
            needs = "needs a label" if ACTIONS[row.action] else "takes no label"
            raise UserError(f"{where}: {row.action} {needs}, and its label is {row.label!r}.")
        try:
            date.fromisoformat(row.date)
        except ValueError:
            raise UserError(
                f"{where}: {row.date!r} is not a date: write it like 2026-03-31."
            ) from None
        if row.id in found:
            raise UserError(
                f"{where} names {row.id} again, which is in line {lines[row.id]} already: remove "
                "one of them."
            )
        found[row.id], lines[row.id] = row, line
    return found


def _rows(data: bytes, name: str | Path) -> Iterator[tuple[int, list[str]]]:
    """The rows after the header with the lines that they begin in; empty lines are passed over."""
    try:
        text = data.decode("utf-8-sig")  # some spreadsheets begin a file with a mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}, line {line} is not UTF-8: save the table as that.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        header = next(reader, [])
        if header != list(Correction._fields):
            raise UserError(
                f"{name}: the first line must be {','.join(Correction._fields)}, with commas, and "
                f"is {','.join(header)!r}."
            )
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield line, [unguarded(cell) for cell in cells]  # copied from tables of ours
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{name}, line {line} cannot be read ({error}): mend it.") from None


def apply(
    corrections: Corrections,
    manifest: Manifest,
    splits: TextArray,
    near_pairs: Pairs | None = None,
    name: str | Path = "data/corrections.csv",
) -> Corrected:
    """Correct labels and splits.

    A relabelled image stays in its split, and an excluded one leaves it. A newly labelled one joins
    train, unless a copy, an image of its group or a look-alike in ``near_pairs`` is in val or test:
    then it is left out.

    Args:
        corrections: what was decided.
        manifest: the images as the source has them.
        splits: [N] the split of each, of `assign`.
        near_pairs: [P, 2] rows of the manifest that belong together, as `assign` was given them.
        name: of the table, for the messages.

    Raises:
        UserError: a row does not fit the images: no such image, no such class, a label for one that
            has none or has one; or no image is left of a split, or to train on of a class.
    """
    import pandas as pd

    if not corrections:
        return Corrected(manifest, splits, np.zeros(len(manifest), bool), 0)
    decided = list(corrections.values())
    rows = _places(decided, manifest, name)
    kinds = manifest.label.categories
    codes = manifest.label.codes.astype(np.int64)
    number = {str(kind): code for code, kind in enumerate(kinds)}
    splits = splits.copy()
    left_out, added = np.zeros((2, len(manifest)), bool)
    for row, one in zip(rows.tolist(), decided, strict=True):
        _check(one, str(kinds[codes[row]]), number, name)
        if one.label:
            codes[row] = number[one.label]
        left_out[row] = one.action == "exclude"
        added[row] = one.action == "label"
    splits[left_out] = "excluded"
    splits[added] = "train"
    copies = np.zeros(len(manifest), bool)
    if added.any():
        unit = units(manifest, near_pairs)
        copies = added & np.isin(unit, unit[np.isin(splits, ("val", "test"))])
        splits[copies] = "excluded"
    label = pd.Categorical.from_codes(codes.tolist(), kinds)
    _check_left(label, splits, name)
    return Corrected(replace(manifest, label=label), splits, left_out | copies, int(copies.sum()))


def counts(corrections: Corrections) -> dict[str, int]:
    """How often each action was decided."""
    done = Counter(one.action for one in corrections.values())
    return {action: done[action] for action in ACTIONS}


def _places(decided: list[Correction], manifest: Manifest, name: str | Path) -> Int64Array:
    """The rows of the manifest that are decided about."""
    rows = manifest.rows(one.id for one in decided)
    absent = np.flatnonzero(rows < 0)
    if len(absent):
        more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise UserError(
            f"{name} corrects {decided[absent[0]].id}{more}, which the data do not have: remove "
            f"the row{'s' if more else ''}, or bring back the image{'s' if more else ''}."
        )
    return rows


def _check(one: Correction, given: str, known: Mapping[str, int], name: str | Path) -> None:
    """Whether a correction fits an image that the source labels ``given``."""
    if one.label and one.label not in known:
        raise UserError(
            f"{name} calls {one.id} {one.label!r}, which is no class of the data"
            f"{suggestion(one.label, filter(None, known))}: corrections make no new class, images "
            "at download.path do."
        )
    if given and one.action == "label":
        raise UserError(
            f"{name} labels {one.id}, which has the label {given!r} already: say relabel."
        )
    if not given and one.action in ("relabel", "keep"):
        raise UserError(f"{name} says {one.action} of {one.id}, which has no label: say label.")


def _check_left(label: "pd.Categorical[str]", splits: TextArray, name: str | Path) -> None:
    for split in ("train", "val", "test"):
        if not (splits == split).any():
            raise UserError(f"{name} leaves {split} without images: exclude fewer of them.")
    trained = set(label[splits == "train"].unique())
    for kind in filter(None, label.categories):
        if kind not in trained:
            raise UserError(
                f"{name} leaves train without an image of class {kind!r}: take some of its rows "
                "back, or remove the class at download.path."
            )
