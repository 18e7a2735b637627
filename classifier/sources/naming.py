"""What a file's name says of it: one set of rules, whether images are trained on or predicted.

An image has an image's extension, or none at all. Hidden files, `Thumbs.db`, `__MACOSX` and the
like are not there for anybody. Side files (text, tables, metadata) are passed over without a word.
Any other file may be meant as an image, so it is named where it is left out.
"""

import re
import unicodedata
from typing import NamedTuple

from classifier.images.formats import EXTENSIONS

# Words that stand for a split, in lower case; "unlabelled" is a test set that has no labels.
UNLABELLED = "unlabelled"
_SPLITS = {
    "train": "train", "training": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test", "holdout": "test",
    "unlabelled": UNLABELLED, "unlabeled": UNLABELLED,
    "pred": UNLABELLED, "prediction": UNLABELLED, "predictions": UNLABELLED,
}  # fmt: skip
# Words that add nothing to them.
_FILLERS = (
    "set", "sets", "data", "dataset", "datasets", "image", "images", "img", "imgs", "picture",
    "pictures", "pic", "pics", "photo", "photos", "sample", "samples", "file", "files", "folder",
    "split", "subset", "jpg", "jpeg", "png", "unknown",
)  # fmt: skip
_GLUED = re.compile(f"({'|'.join(_SPLITS)})(?:{'|'.join(_FILLERS)})?")

_SIDE_FILES = frozenset({
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html",
    ".htm", ".log", ".ini", ".db", ".dvc", ".py", ".ipynb", ".npy", ".mat", ".h5", ".pkl", ".sh",
})  # fmt: skip
# Images that other programs read: ImageMagick makes PNG of each.
_CONVERTIBLE = frozenset({
    ".jxl", ".psd", ".svg", ".ico", ".dcm", ".exr", ".hdr", ".pcx",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2",
})  # fmt: skip
NO_TEXT = "its name is not valid text: rename it"

_IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "license", "licence", "readme"})


def suffix(name: str) -> str:
    """The extension of a path in lower case, with its dot, or nothing."""
    last = name.rpartition("/")[2]  # as pathlib finds it, which takes ten times as long
    dot = last.rfind(".")
    return last[dot:].lower() if 0 < dot < len(last) - 1 else ""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is to be passed over by its name alone."""
    return name.startswith(".") or name.lower() in _IGNORED


def may_be_image(path: str) -> bool:
    """Whether a file is taken for an image; only decoding tells whether it is one."""
    return suffix(path) in EXTENSIONS or not suffix(path)


def is_side_file(path: str) -> bool:
    """Whether a file says something about images, such as a table or a text."""
    return suffix(path) in _SIDE_FILES


def why_no_image(path: str) -> str:
    """Why a file is no image; empty if it may be one, and for a side file, which needs no word."""
    extension = suffix(path)
    if may_be_image(path) or is_side_file(path):
        return ""
    reason = f"{extension} is not an image format that can be read"
    if extension not in _CONVERTIBLE:
        return reason
    return f"{reason}: convert it, as with magick mogrify -format png *{extension}"


class SplitName(NamedTuple):
    """The split that a name stands for, or ""; ``sure`` if the name says nothing else."""

    split: str
    sure: bool


def split_named(name: str) -> SplitName:
    """Find the word for a split in a name.

    Train_Set, test2017 and valImages are sure, seg_train and bullet train are not.
    """
    apart = re.sub("(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.findall(r"[^\W\d_]+", apart.lower()) if word not in _FILLERS]
    found = [match[1] for match in map(_GLUED.fullmatch, words) if match]
    splits = {_SPLITS[word] for word in found}
    if UNLABELLED in splits:  # as in test_unlabelled
        splits = {UNLABELLED}
    return SplitName("".join(splits) if len(splits) == 1 else "", len(found) == len(words))


def split_meant(name: str) -> str:
    """The split (train, val or test) that a folder's name or a table's cell stands for, or ""."""
    split, sure = split_named(name)
    return split if sure and split != UNLABELLED else ""


def is_filler(name: str) -> bool:
    """Whether a folder's name says nothing about what it holds, such as images or data."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    return bool(words) and all(word in _FILLERS for word in words)


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


def as_text(text: str) -> str:
    """The text with bytes that are no UTF-8, which file systems allow in names, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
