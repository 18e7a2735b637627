"""Images in one folder a class, with or without train, val and test folders above them.

`classifier.sources.naming` says which files count, `classifier.sources.layout` which folders stand
for splits. Folders inside a class folder belong to the class. A folder without images is no
class: neither Git nor DVC would carry it to the next machine.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from classifier.core.errors import UserError
from classifier.core.wording import first, quoted
from classifier.sources.classes import check_kept, difference, same_but_for_spelling
from classifier.sources.layout import Layout, below_single_folders, counts, understand
from classifier.sources.naming import NO_TEXT, UNLABELLED, as_text, why_no_image
from classifier.sources.source_index import About, Files, Item, Listing, Rejected

_TRAINED = ("train", "")  # the splits that define the classes


def listing(files: Files, root: Path, name: str = "folder", empty: Iterable[str] = ()) -> Listing:
    """List the images among ``files``; ids are their paths, in sorted order.

    Classes are the sorted class folders of the training part, or of the whole if it is not
    divided, so that an index means the same class in every split. Where one folder holds
    everything, it is taken for the root.

    Args:
        files: the files by their paths below the root.
        root: what to call the root in messages.
        name: of the source, for source.json.
        empty: paths below the root of folders without files.

    Raises:
        UserError: the layout makes no labelled set of at least two classes.
    """
    files, inner = below_single_folders(files, root)
    layout = understand(files, inner)
    notes = [f"{root}: took the folders in {inner} for the classes"] if inner != root else []
    notes += layout.notes
    labelled, loose, rejected = _sorted_out(files, inner, layout)
    check_kept(((item.label, item.origin) for item in labelled), rejected)
    classes = sorted({item.label for item in labelled if item.origin in _TRAINED})
    below = inner.relative_to(root).as_posix() + "/" if inner != root else ""
    folders = [f"{path.removeprefix(below)}/." for path in empty if path.startswith(below)]
    places = map(layout.place, [*files, *folders])
    bare = {place.label for place in places if place.split in _TRAINED} - {*classes, ""}
    if bare:
        notes.append(f"{inner}: no class was made of {first(sorted(bare))}, which hold no images")
    if len(classes) < 2:
        raise _too_few(classes, inner, sorted(bare))
    labelled = _of_classes(labelled, classes, inner, notes)
    labelled_test = any(item.origin == "test" for item in labelled)
    for item in loose:
        if item.origin == UNLABELLED or (item.origin == "test" and not labelled_test):
            labelled.append(item._replace(origin="test"))
        else:
            rejected.append(_rejected(item.id, inner, "it lies in no class folder"))
    labelled.sort(key=lambda item: item.id)
    about = About(name, f"images in class folders ({len(classes)} classes)")
    return Listing(about, tuple(classes), labelled, len(labelled), tuple(rejected), tuple(notes))


def _sorted_out(
    files: Files, root: Path, layout: Layout
) -> tuple[list[Item], list[Item], list[Rejected]]:
    """The images in class folders, those in none, and the files that cannot be read."""
    labelled: list[Item] = []
    loose: list[Item] = []
    rejected: list[Rejected] = []
    for path, file in sorted(files.items()):
        split, label = layout.place(path)
        if not counts(path):
            continue
        reason = NO_TEXT if as_text(path) != path else why_no_image(path)
        if reason:
            rejected.append(_rejected(path, root, reason, label, split))
        else:
            (labelled if label else loose).append(Item(path, label, split, "", file))
    return labelled, loose, rejected


def _rejected(path: str, root: Path, reason: str, label: str = "", split: str = "") -> Rejected:
    path = as_text(path)
    return Rejected(path, (root / path).as_posix(), reason, as_text(label), split)


def _too_few(classes: Sequence[str], root: Path, bare: Sequence[str]) -> UserError:
    hint = f" (no images in {first(bare)})" if bare else ""
    if not classes:
        return UserError(
            f"{root} holds no images in class folders{hint}: put each class's images into a "
            f"folder of its own, such as {root / 'cat' / '1.jpg'}, and check download.path or "
            "download.url."
        )
    return UserError(
        f"{root} holds one class only ({quoted(classes[0])}){hint}; a classifier needs at least "
        "two class folders side by side: check download.path or download.url."
    )


def _of_classes(
    items: Iterable[Item], classes: Collection[str], root: Path, notes: list[str]
) -> list[Item]:
    """The items with labels that are classes: other spellings are taken for them, with a note."""
    known = {label: label for label in classes}
    for item in items:
        if item.label in known:
            continue
        part = item.id.partition("/")[0]
        match = same_but_for_spelling(item.label, classes)
        if not match:
            raise UserError(
                f"class {quoted(item.label)} is in {root / part} but not in the training folder: "
                "add training images of it or remove its folder."
            )
        known[item.label] = match
        notes.append(
            f"{root / part}: took {quoted(item.label)} for class {quoted(match)}, which differs in "
            f"{difference(item.label, match)}"
        )
    return [item._replace(label=known[item.label]) for item in items]
