"""The form in which every source's images are kept: a manifest and a few tar shards.

Tens of thousands of small files are slow to track, copy and read. A shard is a plain tar file of
encoded images that any tool can unpack; the manifest knows where in it each image lies.
"""

import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from classifier.core.csv_files import row_writer

SHARD_BYTES = 64 * 2**20
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


class ShardWriter:
    """Append encoded images to shard-00000.tar, shard-00001.tar, … in a folder.

    The same images in the same order give the same bytes: owner, time and permissions in the
    tar headers are fixed. A shard ends once it holds ``limit`` bytes or more.
    """

    def __init__(self, folder: Path, limit: int = SHARD_BYTES) -> None:
        self._folder = folder
        self._limit = limit
        self._file: BinaryIO | None = None
        self._name = ""
        self._position = 0
        self._shards = 0

    def add(self, name: str, data: bytes) -> Location:
        """Append one image; ``name`` is its path inside the tar file."""
        if self._file is None:
            self._name = f"shard-{self._shards:05d}.tar"
            self._file = (self._folder / self._name).open("wb")
            self._position = 0
            self._shards += 1
        member = tarfile.TarInfo(name)
        member.size = len(data)
        header = member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        location = Location(self._name, self._position + len(header), len(data))
        padding = bytes(-len(data) % tarfile.BLOCKSIZE)
        self._file.write(header)
        self._file.write(data)
        self._file.write(padding)
        self._position += len(header) + len(data) + len(padding)
        if self._position >= self._limit:
            self.close()
        return location

    def close(self) -> None:
        """End the open shard as the tar format asks: two empty blocks, a whole record."""
        if self._file is None:
            return
        end = self._position + 2 * tarfile.BLOCKSIZE
        self._file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        self._file.close()
        self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


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
