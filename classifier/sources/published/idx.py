"""The IDX form of MNIST and its relatives.

Big-endian: two zero bytes, the element type (8: unsigned byte), the number of dimensions, each
dimension as 32 bits, then the elements (https://yann.lecun.org/exdb/mnist/).
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from classifier.core.errors import UserError
from classifier.sources.source_index import Item

_UNSIGNED_BYTE = 8


def read(path: Path) -> np.ndarray:
    """A gzipped IDX file of unsigned bytes as a uint8 array of its own shape.

    Raises:
        UserError: the file is not of that form, or longer or shorter than it says.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}): replace it.") from None
    if len(data) < 4 or data[:3] != bytes((0, 0, _UNSIGNED_BYTE)):
        raise UserError(f"{path} is not an IDX file of unsigned bytes: replace it.")
    start = 4 + 4 * data[3]
    shape = tuple(int(size) for size in np.frombuffer(data[4:start], ">u4"))
    elements = np.frombuffer(data, np.uint8, offset=min(start, len(data)))
    if len(shape) != data[3] or len(elements) != np.prod(shape, dtype=np.int64):
        raise UserError(
            f"{path} has {len(elements):,} elements where its header says "
            f"{'×'.join(map(str, shape))}: replace it."
        )
    return elements.reshape(shape)


def items(origin: str, images: Path, labels: Path, classes: tuple[str, ...]) -> Iterator[Item]:
    """The images of one split, from a file of images [N, H, W] and one of labels [N].

    Raises:
        UserError: the files do not belong together.
    """
    pixels, indices = read(images), read(labels)
    if pixels.ndim != 3 or indices.shape != pixels.shape[:1]:
        raise UserError(f"{labels} has not one label for each image of {images}: replace both.")
    if indices.max(initial=0) >= len(classes):
        raise UserError(f"{labels} has a label above {len(classes) - 1}: replace it.")
    for index, (image, label) in enumerate(zip(pixels, indices, strict=True)):
        yield Item(f"{origin}/{index:05d}", classes[label], origin, "", image)
