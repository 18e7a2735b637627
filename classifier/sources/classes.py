"""What is asked of the classes of every source: names that tell them apart, images in each."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from classifier.core.errors import UserError
from classifier.core.wording import first, quoted, short
from classifier.sources.naming import composed, folded, split_meant, visible
from classifier.sources.source_index import Rejected

# What tables and programs write where there is no label, in lower case.
_NOTHING = frozenset({
    "", "nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>", "nat", "empty", "missing",
    "undefined", "no label", "no_label", "unlabeled", "unlabelled",
})  # fmt: skip


def doubts(classes: Sequence[str]) -> list[str]:
    """Sentences on class names that are probably not meant as they stand.

    Raises:
        UserError: all of them name splits.
    """
    if classes and all(map(split_meant, classes)):
        raise UserError(
            f"the only classes are {first(map(quoted, classes))}, which are names of splits: check "
            "where the labels come from (download.label_column, or the class folders)."
        )
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_essence(name), []).append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    found = [
        f"classes {first(map(quoted, group), shown=5)} differ in {difference(*group[:2])} only, "
        "and are separate classes: give them one name if they are one"
        for group in groups[:3]
    ]
    if len(groups) > 3:
        found.append(f"{len(groups) - 3:,} more sets of classes differ in such ways only")
    if nothing := [name for name in classes if folded(name) in _NOTHING]:
        found.append(
            f"class {first(map(quoted, nothing))} reads as if there was no label: it is a class "
            "like any other, so remove its images if it is not meant as one"
        )
    return found


def same_but_for_spelling(name: str, classes: Iterable[str]) -> str:
    """The only one of the classes whose name is spelled like ``name``, or ""."""
    found = [other for other in classes if _essence(other) == _essence(name)]
    return found[0] if len(found) == 1 else ""


def difference(one: str, other: str) -> str:
    """In what two names differ that mean the same."""
    if composed(one) == composed(other):
        return "Unicode form"
    if visible(one) == visible(other):
        return "blanks or characters that are not seen"
    return "letter case" if folded(one) == folded(other) else "letter case or blanks"


def check_kept(kept: Iterable[tuple[str, str]], rejected: Sequence[Rejected]) -> None:
    """Refuse a set that has lost a class: all of its images, or all in one of the splits.

    Args:
        kept: the label and the origin of each image that can be used.
        rejected: what cannot.

    Raises:
        UserError: all images of a class are among the rejected ones.
    """
    whole = set(kept)
    lost: dict[tuple[str, str], list[Rejected]] = {}
    for one in rejected:
        if one.label and (one.label, one.origin) not in whole:
            lost.setdefault((one.label, one.origin), []).append(one)
    if not lost:
        return
    (label, origin), images = next(iter(lost.items()))
    reasons = Counter(one.reason for one in images)
    shown = "; ".join(f"{count:,}: {reason}" for reason, count in reasons.most_common(3))
    others = [quoted(label) for label, _ in lost][1:]
    raise UserError(
        f"class {quoted(label)}{f' of {origin}' if origin else ''}: none of its {len(images):,} "
        f"files can be used ({shown}; the first is {short(images[0].path)})"
        f"{f', and the same holds for {first(others)}' if others else ''}: convert or mend them, "
        "or remove the class."
    )


def _essence(name: str) -> str:
    """A name without letter case, Unicode form, and what stands between its words."""
    return folded(re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", visible(name)))
