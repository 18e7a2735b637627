"""The binary form of CIFAR-10 and CIFAR-100, which needs no pickle.

A record is one label byte (CIFAR-10) or a coarse and a fine label byte (CIFAR-100), then 3,072
bytes: the red, the green and the blue plane of 32×32 pixels, row by row
(https://www.cs.toronto.edu/~kriz/cifar.html).
"""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classifier.core.errors import UserError
from classifier.sources.source_index import Item

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


class Layout(NamedTuple):
    """Which files of the archive hold what, and how many label bytes a record starts with."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    label_bytes: int


CIFAR10 = Layout(
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test=("test_batch.bin",),
    names="batches.meta.txt",
    label_bytes=1,
)
CIFAR100 = Layout(("train.bin",), ("test.bin",), "fine_label_names.txt", label_bytes=2)


def read(archive: Path, layout: Layout) -> tuple[tuple[str, ...], list[Item]]:
    """The class names in their official order, and the images of train and test.

    Holds the whole archive in memory, 184 MB for the real ones.

    Raises:
        UserError: the archive lacks a file, or a file does not consist of whole records.
    """
    content = _unpack(archive, {*layout.train, *layout.test, layout.names})
    names = content[layout.names].decode("ascii").split()
    items = [
        item
        for origin, files in (("train", layout.train), ("test", layout.test))
        for item in _items(archive, origin, files, content, layout, names)
    ]
    return tuple(names), items


def _unpack(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                stream = tar.extractfile(member) if name in wanted else None
                if stream is not None:
                    content[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} cannot be unpacked ({error}): replace it.") from None
    if missing := sorted(wanted - content.keys()):
        raise UserError(f"{archive} lacks {missing[0]}: take the binary version of the set.")
    return content


def _items(
    archive: Path,
    origin: str,
    files: tuple[str, ...],
    content: dict[str, bytes],
    layout: Layout,
    names: list[str],
) -> Iterator[Item]:
    record = layout.label_bytes + _PIXELS
    index = 0
    for file in files:
        if len(content[file]) % record or not content[file]:
            raise UserError(
                f"{archive}: {file} has {len(content[file]):,} bytes, not a whole number of "
                f"{record}-byte records: replace the archive."
            )
        rows = np.frombuffer(content[file], np.uint8).reshape(-1, record)
        labels = rows[:, layout.label_bytes - 1]
        if labels.max() >= len(names):
            raise UserError(f"{archive}: {file} has a label above {len(names) - 1}: replace it.")
        planes = rows[:, layout.label_bytes :].reshape(-1, 3, _SIDE, _SIDE)
        for label, image in zip(labels, planes.transpose(0, 2, 3, 1), strict=True):
            yield Item(f"{origin}/{index:05d}", names[label], origin, "", image)
            index += 1
