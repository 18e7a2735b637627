"""Pictures in one folder a class, with or without train, val and test folders above them.

What counts as a picture: a file with a picture's extension, or with none at all. Hidden files,
`Thumbs.db`, `__MACOSX` and side files (text, tables, metadata) are passed over; any other file
is listed as rejected. Folders inside a class folder belong to the class. A folder without
pictures is no class: neither Git nor DVC would carry it to the next machine.
"""

import os
from pathlib import Path

from classifier.errors import UserError
from classifier.images import EXTENSIONS
from classifier.sources.listing import About, Files, Item, Listing, Rejected, Span, suffix

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

_SIDE_FILES = frozenset({
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html",
    ".htm", ".log", ".ini", ".db", ".dvc", ".py", ".ipynb", ".npy", ".mat", ".h5", ".pkl", ".sh",
})  # fmt: skip
_IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "license", "licence", "readme"})


def files_below(root: Path) -> dict[str, Path]:
    """All files below a folder that are not passed over by name; links are followed.

    Raises:
        UserError: the folder does not exist or is a file.
    """
    if not root.exists():
        raise UserError(f"download.path: the folder {root} does not exist.")
    if not root.is_dir():
        raise UserError(
            f"download.path: {root} is a file, not a folder: name the folder that holds one folder "
            "a class, or set download.source to archive or csv."
        )
    files: dict[str, Path] = {}
    _walk(root, "", frozenset(), files)
    return files


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


def is_hidden(name: str) -> bool:
    """Whether a file or folder is to be passed over by its name alone."""
    return name.startswith(".") or name.lower() in _IGNORED


def printable(text: str) -> str:
    """The text with bytes that are no UTF-8, which file systems allow in names, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


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
            self._reject(printable(path), "its name is not valid text: rename it")
        elif not inner:
            if _may_be_picture(path):
                self._loose.append(Item(path, "", origin, "", file))
        elif _may_be_picture(path):
            self.items.append(Item(path, label, origin, "", file))
        elif suffix(path) not in _SIDE_FILES:
            self._reject(path, f"{suffix(path)} is not a picture format that can be read")

    def stray(self, path: str, file: Path | Span) -> None:
        """Note a file that lies in no split."""
        if _may_be_picture(path):
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

    def _reject(self, path: str, reason: str) -> None:
        self.rejected.append(Rejected(path, (self._root / path).as_posix(), reason))


def _split_folders(files: Files, root: Path) -> dict[str, str]:
    """The folders that stand for splits and their origins, or none if the set is not divided.

    A folder called train is a split if it has folders with pictures in it, a class otherwise.
    """
    pictures = [path.split("/") for path in files if "/" in path and _may_be_picture(path)]
    folders = {parts[0] for parts in pictures}
    parts = {folder: SPLITS[folder.lower()] for folder in folders if folder.lower() in SPLITS}
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


def _walk(folder: Path, prefix: str, above: frozenset[str], files: dict[str, Path]) -> None:
    real = os.path.realpath(folder)
    if real in above:  # a link back up would never end
        return
    for entry in os.scandir(folder):
        if is_hidden(entry.name):
            continue
        if entry.is_dir():
            _walk(Path(entry.path), f"{prefix}{entry.name}/", above | {real}, files)
        else:
            files[prefix + entry.name] = Path(entry.path)


def _may_be_picture(path: str) -> bool:
    return suffix(path) in EXTENSIONS or not suffix(path)
