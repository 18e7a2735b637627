"""Images in files, read when they are asked for, so that a set may be larger than the memory.

Rows are read straight into their places in a batch, by a few threads at a time. A memory map would
wait for the disk page after page, and read megabytes around each that nobody asked for.
"""

import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from classifier.core.errors import UserError
from classifier.core.types import Int64Array, UInt8Array

READERS = 4  # threads that read one batch; more than cores, for they wait for the disk
READ_AHEAD = 2  # batches; more would only cost memory, as one is read faster than it is computed on

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class StoredImages:
    """Images uint8 [N, H, W, C] in files of `numpy.save`, to be indexed like one read-only array.

    An index reads the images that it names into a new array; `select` reads nothing.

    Attributes:
        shape: (N, H, W, C).
    """

    def __init__(self, *paths: Path) -> None:
        """Look at the headers of the files, which hold the images one after the other.

        Raises:
            UserError: a file is missing or damaged, or ends before its last image.
        """
        self._parts: list[_Part] = []
        count = 0
        for path in paths:
            try:
                mapped = np.load(path, mmap_mode="r")
            except (OSError, ValueError, EOFError) as error:
                raise damaged(path, error) from None
            self._parts.append(_Part(path, mapped.offset, count))
            count += len(mapped)
        self.shape: tuple[int, ...] = (count, *mapped.shape[1:])
        self._rows: Int64Array | None = None  # of all, that these images are; None: every one

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all images in memory."""
        return int(np.prod(self.shape))

    def select(self, rows: slice | Int64Array) -> Self:
        """The images of these rows, in this order, none of which is read yet."""
        chosen = object.__new__(type(self))
        vars(chosen).update(vars(self))
        chosen._rows = (np.arange(len(self)) if self._rows is None else self._rows)[rows]
        chosen.shape = (len(chosen._rows), *self.shape[1:])
        return chosen

    def __getitem__(self, key: int | slice | Sequence[int] | Int64Array) -> UInt8Array:
        """[H, W, C] of one row, [n, H, W, C] of several."""
        rows = range(len(self))[key] if isinstance(key, slice) else np.arange(len(self))[key]
        images = np.empty((np.size(rows), *self.shape[1:]), np.uint8)
        self.read(np.array(rows, np.int64, ndmin=1), images)
        return images if np.ndim(rows) else images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> UInt8Array:
        """All images at once."""
        return self[:].astype(dtype or np.uint8, copy=False)

    def read(self, rows: Int64Array, out: UInt8Array) -> None:
        """Read ``rows`` [n], in any order and perhaps repeated, into ``out`` uint8 [n, H, W, C].

        Raises:
            UserError: a file ends before an image does, or is gone.
        """
        if self._rows is not None:
            rows = self._rows[rows]
        order = np.argsort(rows, kind="stable")  # ascending rows make one pass over the file
        # Fewer rows are not worth starting threads.
        threads = READERS if len(order) >= READERS else 1
        in_threads(lambda places: self._fill(out, places, rows[places]), order, threads)

    def _fill(self, out: UInt8Array, places: Int64Array, rows: Int64Array) -> None:
        """Read ascending rows into these places."""
        firsts = [part.first for part in self._parts]
        numbers = np.searchsorted(firsts, rows, side="right") - 1
        for number in np.unique(numbers):
            within = numbers == number
            self._fill_from(self._parts[number], out, places[within], rows[within])

    def _fill_from(
        self, part: "_Part", out: UInt8Array, places: Int64Array, rows: Int64Array
    ) -> None:
        """The same of one file; neighbors that stay neighbors are read in one call."""
        size = int(np.prod(self.shape[1:]))
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(places) != 1)) + 1
        with opened(part.path) as file:
            for first, end in zip([0, *breaks], [*breaks, len(rows)], strict=True):
                file.seek(part.start + int(rows[first] - part.first) * size)
                wanted = out[places[first] : places[first] + end - first].reshape(-1)
                while len(wanted):  # a read may stop short, at 2 GB for instance
                    count = file.readinto(wanted.data)
                    if not count:
                        raise damaged(part.path, "it ends before its last image")
                    wanted = wanted[count:]


class _Part(NamedTuple):
    path: Path
    start: int  # byte at which its images begin
    first: int  # row of its first image, of all


Images = UInt8Array | StoredImages


def read_ahead(read: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield ``read(piece)`` for each piece in order, while a thread reads the next READ_AHEAD."""
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        ahead: deque[Future[Result]] = deque()
        for piece in pieces:
            ahead.append(reader.submit(read, piece))
            if len(ahead) > READ_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def in_threads(work: Callable[[Int64Array], None], order: Int64Array, threads: int) -> None:
    """Call ``work`` for as many equal parts of ``order`` at a time."""
    parts = [part for part in np.array_split(order, threads) if len(part)]
    if len(parts) < 2:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(len(parts), "read") as readers:
        list(readers.map(work, parts))


def opened(path: Path) -> io.FileIO:
    """A file of images, open to be read; UserError when it is gone."""
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise damaged(path, error.strerror) from None


def damaged(path: Path, why: object) -> UserError:
    """The error of a file that cannot be read."""
    return UserError(f"{path} cannot be read ({why}): run dvc repro preprocess.")
