"""Where the classes lie in a tree of folders, and which folders stand for splits.

A folder is taken for a split by its name and by what it holds: class folders, which have images in
them. A folder that is called train but holds images is a class like any other.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from classifier.core.errors import UserError
from classifier.core.wording import first
from classifier.sources.naming import (
    UNLABELLED,
    folded,
    is_filler,
    may_be_image,
    split_meant,
    split_named,
    why_no_image,
)

_File = TypeVar("_File")


class Place(NamedTuple):
    """The split and the class that a file belongs to; empty where there is none."""

    split: str
    label: str


class Part(NamedTuple):
    """A split, and the path of the folder that holds its classes, with a slash at its end."""

    split: str
    prefix: str


@dataclass(frozen=True)
class Layout:
    """How a set is laid out: ``parts`` are its split folders by the name of the top folder, and
    ``within`` says that they lie in the class folders. ``notes`` are sentences on what was guessed.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    within: bool = False
    notes: tuple[str, ...] = ()

    def place(self, path: str) -> Place:
        """Where a file belongs, by its path below the root."""
        top, _, below = path.partition("/")
        if self.within and below:
            return Place(split_meant(below.partition("/")[0]), top)
        if not self.parts:
            return Place("", top if below else "")
        split, prefix = self.parts.get(top, Part("", ""))
        if not prefix or not path.startswith(prefix):
            return Place("", "")
        label, _, inner = path[len(prefix) :].partition("/")
        return Place(split, label if inner and split != UNLABELLED else "")


def counts(path: str) -> bool:
    """Whether a file shows that images are meant to be where it lies, readable or not."""
    return may_be_image(path) or bool(why_no_image(path))


def below_single_folders(
    files: Mapping[str, _File], root: Path, table: str = ""
) -> tuple[Mapping[str, _File], Path]:
    """Go down while one folder holds everything, as when a whole folder was packed.

    Stops where ``table`` is found, at a class, and at a split.
    """
    while table not in files:
        tops = {path.partition("/")[0] for path in files if "/" in path and counts(path)}
        if len(tops) != 1 or any("/" not in path and counts(path) for path in files):
            break
        (top,) = tops
        inner = {p[len(top) + 1 :]: file for p, file in files.items() if p.startswith(f"{top}/")}
        within = {path.partition("/")[0] for path in inner if "/" in path and counts(path)}
        if table not in inner:
            if not within:
                break  # images right below: a class
            if split_meant(top) and not all(map(split_meant, within)):
                break
        files, root = inner, root / top
    return files, root


def understand(paths: Iterable[str], root: Path) -> Layout:
    """Find out how a set is laid out.

    Args:
        paths: of its files below the root.
        root: what to call the root in messages.

    Raises:
        UserError: there are split folders, but what they mean is not clear.
    """
    tree = _Folder()
    for path in filter(counts, paths):
        folder = tree
        *folders, _ = path.split("/")
        for name in folders:
            folder = folder.folders.setdefault(name, _Folder())
        folder.images += 1
    parts = _divided(tree, root)
    if not parts:
        return _undivided(tree, root)
    guessed = [
        f"{prefix.removesuffix('/')} for {split}"
        for top, (split, prefix) in parts.items()
        if top.lower() not in _PLAIN or prefix.count("/") > 1
    ]
    return Layout(parts, notes=(f"{root}: took {first(guessed, 9)}",) if guessed else ())


_PLAIN = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_MANY = 3  # so many class folders beside one called train make it likely that this is a class too


@dataclass
class _Folder:
    """How many files that count lie in a folder, and the folders in it that hold such files."""

    images: int = 0
    folders: dict[str, "_Folder"] = field(default_factory=dict)


def _divided(tree: _Folder, root: Path) -> dict[str, Part]:
    """The split folders by the name of the top folder; none if the set is not divided."""
    splits = _candidates(tree.folders)
    if not splits:
        return {}
    parts, inner = _entered(tree, splits)
    nested = sorted(top for top, classes in inner.items() if classes)
    others = sorted(tree.folders.keys() - splits.keys())
    names = [name for top in nested for name in inner[top]] + list(set(map(folded, others)))
    shared = len(set(names)) < len(names)  # class folders of the same names in two places
    if trains := [top for top in nested if splits[top] == "train"]:
        if others and (shared or len(others) < _MANY):
            raise UserError(
                f"{root / others[0]} lies beside the training folder but is none of train, val "
                f"and test: move it elsewhere, or, if {trains[0]} is a class, put its images "
                "right into its folder."
            )
        if not others:
            _check_unique(splits, root)
            return parts
    elif others and shared:
        raise UserError(
            f"{root} has {first(nested)} with class folders but no train folder: put the other "
            f"class folders ({first(others)}) into a folder called train."
        )
    elif not others and any(split_named(top).sure for top in splits):
        if nested:
            raise UserError(
                f"{root} has {first(sorted(splits))} but no train folder with one folder a class."
            )
        raise UserError(
            f"{root} has {first(sorted(splits))} with images but without class folders: put the "
            "images of each class into a folder of its own; if a table holds the labels, set "
            "download.source to csv; if these are the classes, rename the folders."
        )
    return {}


def _candidates(tops: Iterable[str]) -> dict[str, str]:
    """The folders that may be splits by their names, and which.

    Names that say more than the split, such as seg_train, count if all folders have such names.
    """
    named = {top: split_named(top) for top in tops}
    sure = {top: split for top, (split, alone) in named.items() if split and alone}
    likely = {top: split for top, (split, _) in named.items() if split}
    apart = len(set(likely.values())) == len(likely)
    return likely if len(likely) == len(named) and (sure or apart) else sure


def _entered(
    tree: _Folder, splits: Mapping[str, str]
) -> tuple[dict[str, Part], dict[str, set[str]]]:
    """Where each split begins, and the folded names of the class folders in it."""
    parts: dict[str, Part] = {}
    inner: dict[str, set[str]] = {}
    known: set[str] = set()
    for top in sorted(splits, key=lambda top: (splits[top] != "train", top)):
        split = splits[top]
        prefix, folder = _enter(top, tree.folders[top], split == "train", known)
        parts[top] = Part(split, prefix)
        inner[top] = set() if split == UNLABELLED else set(map(folded, folder.folders))
        if split == "train":
            known |= inner[top]
    return parts, inner


def _enter(top: str, folder: _Folder, train: bool, known: Collection[str]) -> tuple[str, _Folder]:
    """Go through folders that hold nothing but one folder, unless that is a class.

    Args:
        top: the split folder's name.
        folder: the split folder.
        train: whether it is the training set, which has more classes than one.
        known: folded names of the training set's classes.
    """
    prefix = f"{top}/"
    while not folder.images and len(folder.folders) == 1:
        ((name, inner),) = folder.folders.items()
        classes = set(map(folded, inner.folders))
        wraps = classes if train else classes.intersection(known)
        named = folded(name) == folded(top) or is_filler(name) or split_named(name).split
        if folded(name) in known or not (wraps or named):
            break
        prefix, folder = f"{prefix}{name}/", inner
    return prefix, folder


def _check_unique(splits: Mapping[str, str], root: Path) -> None:
    for split in sorted(set(splits.values())):
        same = sorted(top for top in splits if splits[top] == split)
        if len(same) > 1:
            raise UserError(f"{root} has two folders that mean {split}, {same[0]} and {same[1]}.")


def _undivided(tree: _Folder, root: Path) -> Layout:
    """Class folders at the top, which may be divided each."""
    inner = [f"{top}/{name}" for top, folder in tree.folders.items() for name in folder.folders]
    parts = sorted(path for path in inner if split_meant(path.partition("/")[2]))
    within = (
        bool(parts)
        and len(parts) == len(inner)
        and all(
            not folder.images and "train" in map(split_meant, folder.folders)
            for folder in tree.folders.values()
        )
    )
    notes: list[str] = []
    if within:
        notes.append(f"{root}: took the folders in class folders, such as {parts[0]}, for splits")
    elif parts:
        notes.append(f"{root}: took {first(parts)} for parts of a class, not for splits")
    named = sorted(top for top in tree.folders if split_named(top).split)
    if len(named) == 1:
        notes.append(f"{root}: took {first(named)} for a class, though it is named like a split")
    elif named:
        notes.append(f"{root}: took {first(named)} for classes, though they are named like splits")
    return Layout(within=within, notes=tuple(notes))
