"""A set that tables name, and what training, an official test set and predict make of a table."""

from collections.abc import Iterable
from pathlib import Path

from classifier.images.manifest import Manifest
from classifier.inference.inputs import InputImage, images
from tests.sources.test_table import table

Rows = Iterable[tuple[str, str]]

# Names in both Unicode forms, as a Mac and a Linux machine write them.
DISK = (
    "a.png", "b.jpg", "sub/c.png", "Sub 2/d.JPG",
    "\u00e91.png", "e\u03012.png", "x y.tif", "1.2.png",
)  # fmt: skip
LABELS = ("cat", "dog") * 4
OTHERS = ("z0.png", "z1.png")


def labelled(names: Iterable[str]) -> list[tuple[str, str]]:
    """Names with LABELS, one after the other."""
    return list(zip(names, LABELS, strict=True))


def plain(rows: Rows) -> str:
    """The plainest table there is."""
    return "image,label\n" + "".join(f"{name},{label}\n" for name, label in rows)


def as_training(root: Path, out: Path, name: str) -> dict[str, str]:
    """The labels of what training takes from a table, by id."""
    table(root, out, table=name)
    return column(out, "label")


def as_test(root: Path, out: Path, name: str) -> dict[str, str]:
    """The labels of what an official test set takes from it."""
    table(root, out, table="other.csv", test_table=name)
    origins = column(out, "origin")
    return {id: label for id, label in column(out, "label").items() if origins[id] == "test"}


def as_predicted(root: Path, name: str) -> list[InputImage]:
    """The images that predict takes from it."""
    return list(images([str(root / name)]))


def column(out: Path, name: str) -> dict[str, str]:
    """A column of the manifest, by id."""
    manifest = Manifest.read(out)
    return dict(zip(manifest.id.tolist(), getattr(manifest, name).tolist(), strict=True))
