"""Pictures in one folder a class, with or without train, val and test folders above them.

What counts as a picture: a file with a picture's extension, or with none at all. Hidden files,
`Thumbs.db`, `__MACOSX` and side files (text, tables, metadata) are passed over; any other file
is listed as rejected. Folders inside a class folder belong to the class. A folder without
pictures is no class: neither Git nor DVC would carry it to the next machine.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from classifier.errors import UserError
from classifier.images import EXTENSIONS
from classifier.sources.listing import About, Item, Listing, Rejected

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


def listing(root: Path, name: str = "folder", key: str = "download.path") -> Listing:
    """List the pictures below ``root``; ids are their paths below it, in sorted order.

    Classes are the sorted class folders of the training part, or of the whole if it is not
    divided, so that an index means the same class in every split. Pictures that lie directly in
    ``test`` come without a label.

    Args:
        root: the folder.
        name: of the source, for source.json.
        key: the parameter that named the folder, for error messages.

    Raises:
        UserError: the folder is missing or empty, or its layout makes no labelled set of at
            least two classes.
    """
    if not root.exists():
        raise UserError(f"{key}: the folder {root} does not exist.")
    if not root.is_dir():
        raise UserError(
            f"{key}: {root} is a file, not a folder: name the folder that holds one folder a "
            "class, or set download.source to archive or csv."
        )
    files = _Files(root)
    parts = _split_folders(root)
    if parts:
        for origin, folder in parts:
            _collect(files, folder, origin)
        trained = {item.label for item in files.items if item.origin == "train"}
        _check_known(files.items, trained, root, key)
    else:
        _collect(files, root, "")
        trained = {item.label for item in files.items}
    classes = tuple(sorted(trained))
    if not files.items:
        raise UserError(
            f"{key}: {root} holds no pictures in class folders: put each class's pictures into "
            f"a folder of its own, such as {root / 'cat' / '1.jpg'}."
        )
    if len(classes) < 2:
        raise UserError(
            f"{key}: {root} holds one class only ({classes[0]!r}); a classifier needs at least "
            "two class folders side by side."
        )
    items = tuple(sorted(files.items, key=lambda item: item.id))
    rejected = tuple(sorted(files.rejected))
    about = About(name, f"pictures in class folders ({len(classes)} classes)")
    return Listing(about, classes, items, len(items), rejected)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is to be passed over by its name alone."""
    return name.startswith(".") or name.lower() in _IGNORED


def visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files in ``folder`` that are not passed over, each sorted by name."""
    folders: list[Path] = []
    files: list[Path] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if not is_hidden(entry.name):
            (folders if entry.is_dir() else files).append(Path(entry.path))
    return folders, files


def has_pictures(folder: Path) -> bool:
    """Whether a file that may be a picture lies in ``folder`` or anywhere below it."""
    return any(_may_be_picture(path) for path in _walk(folder))


class _Files:
    """Collects items and rejected files with ids relative to one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.items: list[Item] = []
        self.rejected: list[Rejected] = []

    def add(self, path: Path, label: str, origin: str) -> None:
        if not _has_text_name(path):
            self.reject(path, "its name is not valid text: rename it")
        elif _may_be_picture(path):
            self.items.append(Item(self._id(path), label, origin, "", path))
        elif path.suffix.lower() not in _SIDE_FILES:
            self.reject(path, f"{path.suffix} is not a picture format that can be read")

    def reject(self, path: Path, reason: str) -> None:
        self.rejected.append(Rejected(self._id(path), _printable(str(path)), reason))

    def _id(self, path: Path) -> str:
        return _printable(path.relative_to(self.root).as_posix())


def _split_folders(root: Path) -> list[tuple[str, Path]]:
    """The folders that stand for splits, or none if ``root`` is not divided.

    A folder called train is a split if it has folders with pictures in it, a class otherwise.
    """
    folders, _ = visible(root)
    parts = [(SPLITS[path.name.lower()], path) for path in folders if path.name.lower() in SPLITS]
    nested = {origin for origin, path in parts if any(map(has_pictures, visible(path)[0]))}
    if "train" not in nested:
        if nested and len(parts) == len(folders):
            names = ", ".join(path.name for _, path in parts)
            raise UserError(f"{root} has {names} but no train folder with one folder a class.")
        return []
    for path in folders:
        if path.name.lower() not in SPLITS and has_pictures(path):
            raise UserError(
                f"{path} lies beside {root / 'train'} but is none of train, val and test: "
                "move it elsewhere."
            )
    origins = [origin for origin, _ in parts]
    for origin in set(origins):
        if origins.count(origin) > 1:
            raise UserError(f"{root} has two folders that mean {origin}: keep one of them.")
    return parts


def _collect(files: _Files, folder: Path, origin: str) -> None:
    folders, loose = visible(folder)
    before = len(files.items)
    for class_folder in folders:
        for path in _walk(class_folder):
            files.add(path, class_folder.name, origin)
    divided = len(files.items) > before
    for path in loose:
        if origin == "test" and not divided:
            files.add(path, "", origin)
        elif _may_be_picture(path):
            files.reject(path, "it lies in no class folder")


def _check_known(items: list[Item], trained: set[str], root: Path, key: str) -> None:
    for item in items:
        if item.label and item.label not in trained:
            raise UserError(
                f"{key}: class {item.label!r} is in {root / item.origin} but not in "
                f"{root / 'train'}: add training pictures of it or remove the folder."
            )


def _walk(folder: Path) -> Iterator[Path]:
    folders, files = visible(folder)
    yield from files
    for inner in folders:
        if not inner.is_symlink():  # a link back up would never end
            yield from _walk(inner)


def _may_be_picture(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS or not path.suffix


def _has_text_name(path: Path) -> bool:
    return str(path) == _printable(str(path))


def _printable(text: str) -> str:
    """The text with bytes that are no UTF-8, which file systems allow in names, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
