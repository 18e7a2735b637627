"""Pictures in one folder a class, with or without train, val and test folders above them.

`classifier.sources.naming` says which files count; one that may have been meant as a picture is
listed as rejected. Folders inside a class folder belong to the class. A folder without pictures is
no class: neither Git nor DVC would carry it to the next machine.
"""

from pathlib import Path

from classifier.errors import UserError
from classifier.sources.classes import check_kept
from classifier.sources.listing import About, Files, Item, Listing, Rejected, Span
from classifier.sources.naming import (
    NO_TEXT,
    may_be_image,
    printable,
    split_meant,
    why_no_image,
)


def listing(files: Files, root: Path, name: str = "folder") -> Listing:
    """List the pictures among ``files``; ids are their paths, in sorted order.

    Classes are the sorted class folders of the training part, or of the whole if it is not
    divided, so that an index means the same class in every split.

    Args:
        files: the files by their paths below the root.
        root: what to call the root in messages.
        name: of the source, for source.json.

    Raises:
        UserError: the layout makes no labelled set of at least two classes.
    """
    layout = _Layout(root)
    parts = _split_folders(files, root)
    for path, file in sorted(files.items()):
        top, _, below = path.partition("/")
        if not parts:
            layout.add(path, path, file, "")
        elif below and top in parts:
            layout.add(path, below, file, parts[top])
        else:
            layout.stray(path, file)
    trained = {item.label for item in layout.items if item.origin == ("train" if parts else "")}
    check_kept(((item.label, item.origin) for item in layout.items), layout.rejected)
    items = layout.finish(trained)
    classes = tuple(sorted(trained))
    if not classes:
        raise UserError(
            f"{root} holds no pictures in class folders: put each class's pictures into a folder "
            f"of its own, such as {root / 'cat' / '1.jpg'}, and check download.path."
        )
    if len(classes) < 2:
        raise UserError(
            f"{root} holds one class only ({classes[0]!r}); a classifier needs at least two class "
            "folders side by side: check download.path."
        )
    about = About(name, f"pictures in class folders ({len(classes)} classes)")
    return Listing(about, classes, items, len(items), tuple(layout.rejected))


class _Layout:
    """Sorts files into pictures with a class, pictures without, and rejected ones."""

    def __init__(self, root: Path) -> None:
        self.items: list[Item] = []
        self.rejected: list[Rejected] = []
        self._root = root
        self._loose: list[Item] = []

    def add(self, path: str, below: str, file: Path | Span, origin: str) -> None:
        """Take in a file that lies at ``below`` in its split: class/…/picture, or loose."""
        label, _, inner = below.partition("/")
        if printable(path) != path:
            self._reject(printable(path), NO_TEXT)
        elif not inner:
            if may_be_image(path):
                self._loose.append(Item(path, "", origin, "", file))
        elif may_be_image(path):
            self.items.append(Item(path, label, origin, "", file))
        elif reason := why_no_image(path):
            self._reject(path, reason, label, origin)

    def stray(self, path: str, file: Path | Span) -> None:
        """Note a file that lies in no split."""
        if may_be_image(path):
            self._loose.append(Item(printable(path), "", "", "", file))

    def finish(self, trained: set[str]) -> list[Item]:
        """All pictures: loose ones are an unlabelled test set, or have no place."""
        for item in self.items:
            if item.label not in trained:
                part = item.id.split("/")[0]
                raise UserError(
                    f"class {item.label!r} is in {self._root / part} but not in the training "
                    "folder: add training pictures of it or remove its folder."
                )
        labelled_test = any(item.origin == "test" for item in self.items)
        unlabelled = []
        for item in self._loose:
            if item.origin == "test" and not labelled_test:
                unlabelled.append(item)
            else:
                self._reject(item.id, "it lies in no class folder")
        return sorted(self.items + unlabelled, key=lambda item: item.id)

    def _reject(self, path: str, reason: str, label: str = "", origin: str = "") -> None:
        place = (self._root / path).as_posix()
        self.rejected.append(Rejected(path, place, reason, label, origin))


def _split_folders(files: Files, root: Path) -> dict[str, str]:
    """The folders that stand for splits and their origins, or none if the set is not divided.

    A folder called train is a split if it has folders with pictures in it, a class otherwise.
    """
    pictures = [path.split("/") for path in files if "/" in path and may_be_image(path)]
    folders = {parts[0] for parts in pictures}
    parts = {folder: split for folder in folders if (split := split_meant(folder))}
    nested = {path[0] for path in pictures if len(path) > 2 and path[0] in parts}
    if "train" not in {parts[folder] for folder in nested}:
        if nested and len(parts) == len(folders):
            names = ", ".join(sorted(parts))
            raise UserError(f"{root} has {names} but no train folder with one folder a class.")
        return {}
    if others := sorted(folders - parts.keys()):
        raise UserError(
            f"{root / others[0]} lies beside the training folder but is none of train, val and "
            "test: move it elsewhere."
        )
    for origin in sorted(set(parts.values())):
        same = sorted(folder for folder in parts if parts[folder] == origin)
        if len(same) > 1:
            raise UserError(f"{root} has two folders that mean {origin}, {same[0]} and {same[1]}.")
    return parts
