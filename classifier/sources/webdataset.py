"""WebDataset: tar files in which an image, its label and more share a name, as in 1.jpg and 1.cls.

A sample is what has one path up to the first dot of its file name. The label is the content of
`.cls`, or a value of `.json`; numbers are named by a `classnames.txt` or `classes.txt`, a line a
class, beside the shards. Format: https://github.com/webdataset/webdataset
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from classifier.core.errors import UserError
from classifier.core.wording import first, quoted, short
from classifier.images.formats import EXTENSIONS
from classifier.sources.naming import split_named
from classifier.sources.source_index import About, Files, Item, Listing, Rejected, Span, read

_NAMES = ("classnames.txt", "class_names.txt", "classes.txt")
_KEYS = ("cls", "class", "class_name", "category")  # of JSON, after the one that the user names


def holds_samples(files: Iterable[str]) -> bool:
    """Whether these files of an archive are WebDataset's, by their paths.

    JSON files also lie beside images in class folders, which then say the class.
    """
    samples = _samples(files)
    images = {key: kinds for key, kinds in samples.items() if EXTENSIONS.intersection(kinds)}
    if any(".cls" in kinds for kinds in images.values()):
        return True
    folders = {key.rpartition("/")[0] for key in images}
    return len(folders) == 1 and all(".json" in kinds for kinds in images.values())


def listing(
    shards: Mapping[str, Mapping[str, Span]], beside: Files, root: str, label_key: str
) -> Listing:
    """List the samples of shards; ids are the shard's name and the image's path in it.

    Shards whose names stand for splits, such as train-0001 and val-0000, divide the set.

    Args:
        shards: the files of each shard by their paths, by the shard's name without its ending.
        beside: what lies beside the shards, where class names may be.
        root: what to call the whole in messages.
        label_key: the key of the label in JSON files.

    Raises:
        UserError: some shards name a split and others none, a label cannot be read, a training
            sample has none, or there is one class only.
    """
    origins = {shard: _split(shard) for shard in shards}
    unclear = [shard for shard, origin in origins.items() if not origin]
    if 0 < len(unclear) < len(shards):
        raise UserError(
            f"{root}: {first(unclear)} says neither train, val nor test as other shards do: rename "
            "it, or move it elsewhere."
        )
    items: list[Item] = []
    rejected: list[Rejected] = []
    for shard, files in shards.items():
        for key, kinds in sorted(_samples(files).items()):
            images = sorted(EXTENSIONS.intersection(kinds))
            if not images:
                continue
            image = files[kinds[images[0]]]
            name = f"{shard}/{kinds[images[0]]}"
            if len(images) > 1:
                reason = f"its sample has several images ({', '.join(images)})"
                rejected.append(Rejected(name, image.name, reason, "", origins[shard]))
                continue
            label = _label({kind: files[path] for kind, path in kinds.items()}, label_key)
            if not label and origins[shard] != "test":
                raise UserError(
                    f"{image.name} has no label: {shard} needs {short(key)}.cls, or "
                    f"{short(key)}.json with the key {quoted(label_key)} (download.label_column)."
                )
            items.append(Item(name, label, origins[shard], "", image))
    classes = _classes(items, root)
    names, notes = _names(classes, beside, root)
    items = [item._replace(label=names.get(item.label, "")) for item in items]
    about = About("archive", f"samples of WebDataset ({len(classes)} classes)")
    return Listing(about, tuple(names.values()), items, len(items), tuple(rejected), tuple(notes))


def _samples(files: Iterable[str]) -> dict[str, dict[str, str]]:
    """The path of each part of a sample by what follows the key, by the key."""
    samples: dict[str, dict[str, str]] = {}
    for path in files:
        folder, slash, name = path.rpartition("/")
        key, dot, kind = name.partition(".")
        if key and dot:
            samples.setdefault(folder + slash + key, {})[f".{kind.lower()}"] = path
    return samples


def _split(shard: str) -> str:
    """The split that a shard's name stands for, such as imagenet1k-train-0000."""
    split, _ = split_named(re.sub(r"[\d{}.]+$", "", shard))
    return split if split in ("train", "val", "test") else ""


def _label(parts: Mapping[str, Span], key: str) -> str:
    """The label of a sample; empty if it has none."""
    if ".cls" in parts:
        return read(parts[".cls"]).decode("utf-8", "backslashreplace").strip()
    if ".json" not in parts:
        return ""
    try:
        content = json.loads(read(parts[".json"]))
    except ValueError as error:
        raise UserError(f"{parts['.json'].name} is no JSON ({error}): mend it.") from None
    if not isinstance(content, dict):
        return _text(content)
    return next((_text(content[name]) for name in (key, *_KEYS) if name in content), "")


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int) else ""


def _classes(items: Sequence[Item], root: str) -> list[str]:
    """The labels of the training samples, sorted, as numbers if that is what all of them are."""
    found = {item.label for item in items if item.origin in ("train", "")}
    if len(found) < 2:
        raise UserError(f"{root} has training samples of {len(found)} class: it needs two or more.")
    for item in items:
        if item.label and item.label not in found:
            raise UserError(f"{item.id} has the label {quoted(item.label)}, which training lacks.")
    return sorted(found, key=int if all(map(str.isdecimal, found)) else None)


def _names(classes: Sequence[str], beside: Files, root: str) -> tuple[dict[str, str], list[str]]:
    """The class name of each label, and what is to be said of it."""
    own = {label: label for label in classes}
    if not all(map(str.isdecimal, classes)):
        return own, []
    table = next((name for name in _NAMES if name in beside), None)
    if table is None:
        note = f"{root}: the classes are numbers; {_NAMES[0]} beside the archives can name them"
        return own, [f"{note}, a line a class"]
    lines = read(beside[table]).decode("utf-8", "backslashreplace").splitlines()
    if len(lines) <= int(classes[-1]):
        raise UserError(
            f"{root}/{table} has {len(lines):,} lines, and there is a class {classes[-1]}: it "
            "needs a line for each class, from 0 on."
        )
    names = {label: lines[int(label)].strip() for label in classes}
    if len({*names.values(), ""}) <= len(names):
        raise UserError(f"{root}/{table} has an empty line, or one name twice: mend it.")
    return names, []
