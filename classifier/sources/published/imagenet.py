"""ImageNet (ILSVRC 2012) as people have it: the official tar files, or folders made from them.

What lies below download.path is known by its name, wherever it lies there:

- `ILSVRC2012_img_train.tar`, a tar file of a tar file for each synset; or those inner files; or
  folders that are called as synsets, such as `n01440764`, with images in them;
- `ILSVRC2012_img_val.tar`, or the images in it, or folders as above below one called `val`;
- the development kit `ILSVRC2012_devkit_t12.tar.gz`, or `meta.mat` and
  `ILSVRC2012_validation_ground_truth.txt` of it; or `LOC_synset_mapping.txt` and
  `LOC_val_solution.csv`, as Kaggle has them.

Plain tar files are read where they lie: nothing is unpacked. Format: the development kit's readme.
"""

import io
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from classifier.core.errors import UserError
from classifier.core.wording import first, short
from classifier.sources.naming import is_hidden, may_be_image, split_meant
from classifier.sources.source_index import About, Files, Item, Listing, Span, read
from classifier.sources.unpack import in_tar

_KIT = "ILSVRC2012_devkit_t12.tar.gz"
_META = "meta.mat"
_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
_MAPPING = "LOC_synset_mapping.txt"
_SOLUTION = "LOC_val_solution.csv"
_SYNSET = re.compile(r"n\d{8}")
_VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})\.")


class _Image(NamedTuple):
    """A file, and its path in the form that it has when all is unpacked."""

    path: str
    file: Path | Span


class _Kit(NamedTuple):
    """What is known of the synsets.

    ``words`` are the names of each WordNet ID, parted by commas; ``truth`` is the WordNet ID of
    each image of the validation set, by its number from 1 on.
    """

    words: Mapping[str, str]
    truth: Mapping[int, str]


def listing(files: Files, root: Path) -> Listing:
    """List the images; classes are the synsets of the training images in the order of their IDs.

    A class is called by the first of its names that no other class has. The official validation set
    is the test split, because that is what published scores are of. Its images of classes that are
    not trained on, as in a part of ImageNet, are passed over.

    Args:
        files: the files by their paths below the root.
        root: what to call the root in messages.

    Raises:
        UserError: a part is missing, damaged, or not what it should be.
    """
    kit = _kit(files, root)
    train, val = _images(files)
    if len(train) < 2:
        raise UserError(
            f"{root} holds training images of {len(train)} synsets: put ILSVRC2012_img_train.tar "
            "there, or folders that are called n01440764 and so on."
        )
    if unknown := sorted(train.keys() - kit.words.keys()):
        raise UserError(f"{root}: the development kit does not know the synset {first(unknown)}.")
    names = class_names({synset: kit.words[synset] for synset in sorted(train)})
    tested = [(image, _synset_of(image, kit, root)) for image in val]
    kept = [(image, synset) for image, synset in tested if synset in names]
    notes = []
    if len(kept) < len(tested):
        notes.append(
            f"{root}: passed over {len(tested) - len(kept):,} images of the validation set, of "
            "classes that have no training images"
        )
    origin = "train" if kept else ""

    def items() -> Iterator[Item]:
        for synset, images in sorted(train.items()):
            for image in images:
                yield Item(f"train/{image.path}", names[synset], origin, "", image.file)
        for image, synset in kept:
            yield Item(f"val/{image.path}", names[synset], "test", "", image.file)

    about = About(
        "imagenet",
        f"photographs of {len(names):,} kinds of things; the official validation set is the test "
        "split",
        license="for research that is not commercial",
        citation="O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, "
        "International Journal of Computer Vision 115(3), 2015",
        homepage="https://image-net.org/challenges/LSVRC/2012/",
    )
    total = len(kept) + sum(map(len, train.values()))
    return Listing(about, tuple(names.values()), items(), total, notes=tuple(notes))


def class_names(words: Mapping[str, str]) -> dict[str, str]:
    """A readable name for each synset, from its names, parted by commas.

    It is the first name, or all of them where another synset has the same first one (two are called
    crane), and the ID behind them where even those are the same.
    """
    short_names = {synset: text.split(",")[0].strip() for synset, text in words.items()}
    shared = Counter(name.casefold() for name in short_names.values())
    long_names = Counter(text.casefold() for text in words.values())
    names = {}
    for synset, text in words.items():
        if shared[short_names[synset].casefold()] == 1:
            names[synset] = short_names[synset]
        elif long_names[text.casefold()] == 1 and "," in text:
            names[synset] = text
        else:
            names[synset] = f"{text} ({synset})"
    return names


def _images(files: Files) -> tuple[dict[str, list[_Image]], list[_Image]]:
    """The training images by their synset, and those of the validation set, each in order."""
    train: dict[str, list[_Image]] = {}
    val: list[_Image] = []
    for path, file in sorted(files.items()):
        *folders, name = path.split("/")
        if name == "ILSVRC2012_img_train.tar":
            for inner, span in sorted(in_tar(file).items()):
                if inner.endswith(".tar"):
                    _add_tar(train, inner, span)
        elif name == "ILSVRC2012_img_val.tar":
            val += [_Image(inner, span) for inner, span in sorted(in_tar(file).items())]
        elif name.endswith(".tar") and _SYNSET.fullmatch(name.removesuffix(".tar")):
            _add_tar(train, name, file)
        elif not may_be_image(name) or is_hidden(name):
            continue
        elif _VALIDATION.match(name):
            val.append(_Image(name, file))
        elif folders and _SYNSET.fullmatch(folders[-1]):
            image = _Image(f"{folders[-1]}/{name}", file)
            if {"val", "test"}.intersection(map(split_meant, folders[:-1])):
                val.append(image)
            else:
                train.setdefault(folders[-1], []).append(image)
    return train, val


def _add_tar(train: dict[str, list[_Image]], name: str, tar: Path | Span) -> None:
    """Take in the images of one synset's tar file."""
    synset = name.rpartition("/")[2].removesuffix(".tar")
    images = [_Image(f"{synset}/{inner}", span) for inner, span in sorted(in_tar(tar).items())]
    train.setdefault(synset, []).extend(images)


def _synset_of(image: _Image, kit: _Kit, root: Path) -> str:
    """The synset of an image of the validation set."""
    folder, _, name = image.path.rpartition("/")
    if _SYNSET.fullmatch(folder):
        return folder
    number = _VALIDATION.match(name)
    if number is None or int(number[1]) not in kit.truth:
        raise UserError(
            f"{root}: {short(image.path)} is no image of the validation set whose label is known: "
            f"put {_KIT} there."
        )
    return kit.truth[int(number[1])]


def _kit(files: Files, root: Path) -> _Kit:
    """Read the development kit, or what Kaggle has in its place."""
    known = {path.rpartition("/")[2]: file for path, file in sorted(files.items())}
    content = {name: read(known[name]) for name in (_META, _TRUTH) if name in known}
    if _KIT in known:
        content |= _unpacked(known[_KIT])
    try:
        if _META in content:
            return _of_kit(content[_META], content.get(_TRUTH, b"").decode("ascii"))
        if _MAPPING in known:
            solution = read(known[_SOLUTION]).decode() if _SOLUTION in known else ""
            return _of_kaggle(read(known[_MAPPING]).decode(), solution)
    # What SciPy and the parts of a damaged file raise has no common base.
    except Exception as error:
        reason = short(" ".join(str(error).split()) or type(error).__name__)
        raise UserError(
            f"{root}: the development kit cannot be read ({reason}): replace it."
        ) from None
    raise UserError(
        f"{root} lacks {_KIT}, which names the classes: put it there (or {_META} and {_TRUTH} of "
        f"it, or Kaggle's {_MAPPING} and {_SOLUTION})."
    )


def _unpacked(kit: Path | Span) -> dict[str, bytes]:
    content = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(read(kit))) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                name = member.name.rpartition("/")[2]
                if stream is not None and name in (_META, _TRUTH):
                    content[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{_KIT} cannot be unpacked ({short(str(error))}): replace it.") from None
    return content


def _of_kit(meta: bytes, truth: str) -> _Kit:
    """From MATLAB's table of synsets, whose inner nodes have children, and lines of numbers."""
    from scipy.io import loadmat

    synsets: Sequence[Any] = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
    leaves = [one for one in synsets if int(one["num_children"]) == 0]
    by_number = {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in leaves}
    words = {str(one["WNID"]): str(one["words"]) for one in leaves}
    labels = [by_number[int(line)] for line in truth.split()]
    return _Kit(words, dict(enumerate(labels, 1)))


def _of_kaggle(mapping: str, solution: str) -> _Kit:
    """From lines of an ID and its names, and rows of an image and its boxes, each with an ID."""
    words = dict(line.strip().split(" ", 1) for line in mapping.splitlines() if line.strip())
    rows = [line.split(",", 1) for line in solution.splitlines()[1:] if line.strip()]
    truth = {int(name.rpartition("_")[2]): boxes.split()[0] for name, boxes in rows}
    return _Kit(words, truth)
