"""What a file's name says of it: one set of rules, whether images are trained on or predicted.

An image has an image's extension, or none at all. Hidden files, `Thumbs.db`, `__MACOSX` and the
like are not there for anybody. Side files (text, tables, metadata) are passed over without a word.
Any other file may be meant as an image, so it is named where it is left out.
"""

import unicodedata
from pathlib import PurePosixPath

from classifier.images import EXTENSIONS

# Words that stand for a split, in lower case.
_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

_SIDE_FILES = frozenset({
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html",
    ".htm", ".log", ".ini", ".db", ".dvc", ".py", ".ipynb", ".npy", ".mat", ".h5", ".pkl", ".sh",
})  # fmt: skip
# Images that other programs read: ImageMagick makes PNG of each.
_CONVERTIBLE = frozenset({
    ".heic", ".heif", ".hif", ".jxl", ".psd", ".svg", ".ico", ".dcm", ".exr", ".hdr", ".pcx",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2",
})  # fmt: skip
NO_TEXT = "its name is not valid text: rename it"

_IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "license", "licence", "readme"})


def suffix(name: str) -> str:
    """The extension of a path in lower case, with its dot, or nothing."""
    return PurePosixPath(name).suffix.lower()


def is_hidden(name: str) -> bool:
    """Whether a file or folder is to be passed over by its name alone."""
    return name.startswith(".") or name.lower() in _IGNORED


def may_be_image(path: str) -> bool:
    """Whether a file is taken for an image; only decoding tells whether it is one."""
    return suffix(path) in EXTENSIONS or not suffix(path)


def why_no_image(path: str) -> str:
    """Why a file that `may_be_image` denies is none; empty for a side file, which needs no word."""
    extension = suffix(path)
    if extension in _SIDE_FILES:
        return ""
    reason = f"{extension} is not a picture format that can be read"
    if extension not in _CONVERTIBLE:
        return reason
    return f"{reason}: convert it, as with magick mogrify -format png *{extension}"


def split_meant(name: str) -> str:
    """The split (train, val or test) that a folder's name or a table's cell stands for, or ""."""
    return _SPLITS.get(name.strip().lower(), "")


def folded(name: str) -> str:
    """What is left of a name without letter case, Unicode form and what is not seen of it."""
    return composed(visible(name).casefold())


def visible(name: str) -> str:
    """A name in NFC without the characters that are not seen, and with one blank for many."""
    name = composed(name)
    if not name.isascii():
        name = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return " ".join(name.split())


def composed(name: str) -> str:
    """A name with its accents in one form (NFC), whichever system wrote it."""
    return unicodedata.normalize("NFC", name)


def printable(text: str) -> str:
    """The text with bytes that are no UTF-8, which file systems allow in names, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
