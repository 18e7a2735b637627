"""The form in which every source's images are kept: a manifest and a few tar shards.

Tens of thousands of small files are slow to track, copy and read. A shard is a plain tar file of
encoded images that any tool can unpack; the manifest knows where in it each image lies.
"""

import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from classifier.core.csv_files import row_writer
from classifier.core.files import replacing

MANIFEST = "manifest.csv"
CLASSES = "classes.json"
REJECTED = "rejected.csv"
SOURCE = "source.json"


class Location(NamedTuple):
    """Where an image's bytes are: file name of the shard, first byte, number of bytes."""

    shard: str
    offset: int
    size: int


class Record(NamedTuple):
    """One row of the manifest; width and height in pixels, of the upright image."""

    id: str
    label: str  # the class name; empty where the source gives none
    origin: str  # train, val, test as the source said, or empty
    group: str  # images that must stay together; may be empty
    width: int
    height: int
    mode: str  # Pillow's name of the pixel format that was found in the file
    content: str  # hash of the decoded pixels: identical pixels, identical hash
    phash: str  # 64-bit perceptual hash, 16 hex digits
    shard: str
    offset: int
    size: int


@contextmanager
def shard_writer(path: Path) -> Iterator[Callable[[str, bytes], Location]]:
    """Yield a function that appends an image, by its path inside the tar file, to a new shard.

    The same images in the same order give the same bytes, whoever writes them: owner, time and
    permissions in the tar headers are fixed. The file appears once it is whole.
    """
    with replacing(path, tidy=False) as temporary, temporary.open("wb") as file:

        def add(name: str, data: bytes) -> Location:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.write(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
            location = Location(path.name, file.tell(), len(data))
            file.write(data)
            file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
            return location

        yield add
        # The tar format ends with two empty blocks, and fills a whole record.
        end = file.tell() + 2 * tarfile.BLOCKSIZE
        file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))


def read_bytes(folder: str | Path, shard: str, offset: int, size: int) -> bytes:
    """The encoded bytes of one image.

    Raises:
        ValueError: the shard ends before the image does.
    """
    with (Path(folder) / shard).open("rb", buffering=0) as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise ValueError(f"{Path(folder) / shard} is cut off at byte {offset + len(data)}")
    return data


def write_manifest(folder: str | Path, records: Iterable[Record]) -> None:
    """Write manifest.csv, one row an image, in the order given."""
    with row_writer(Path(folder) / MANIFEST, Record._fields) as write:
        write(records)
