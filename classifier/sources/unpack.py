"""Unpack a zip or tar file that nobody vouches for.

A plain tar file is read where it lies. What others hold is written one file behind the other into
a single one: making tens of thousands of small ones takes longer than decoding them. So no name of
the archive's reaches the file system.
Archives that hold names leading elsewhere (absolute, `..`), links or devices are refused all the
same, as are those that would fill the disk; the limits are far above any data set of images,
which hardly compress.
"""

import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import IO, NamedTuple, NoReturn

from classifier.core.errors import UserError
from classifier.core.wording import quoted, short
from classifier.sources.naming import as_text, is_hidden
from classifier.sources.source_index import Span

MAX_MEMBERS = 5_000_000
MAX_BYTES = 256 * 2**30
# A bomb is known by how much more comes out than went in; small archives may be what they like.
MAX_RATIO = 100
RATIO_FROM_BYTES = 64 * 2**20

_BLOCK = 2**20
# What the standard library raises on damaged headers and data; not all of it on purpose.
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError,
    ValueError, ArithmeticError, LookupError, RuntimeError,
)  # fmt: skip


class _Member(NamedTuple):
    name: str
    stream: IO[bytes] | None  # None for a folder
    span: tuple[int, int] | None = None  # first byte and size, if it lies in the archive as it is


def unpack(archive: Path, spool: Path) -> dict[str, Span]:
    """Find the files in ``archive`` (zip, or tar plain or with gz, bz2 or xz).

    Returns where each file lies, by its path in the archive: in the archive itself if that is a
    plain tar file, or in the new file ``spool``. Hidden files and folders such as `__MACOSX` are
    left out.

    Raises:
        UserError: the file is no such archive, is damaged or encrypted, or does one of the
            things that are refused; ``spool`` is for the caller to remove.
    """
    spans: dict[str, Span] = {}
    try:
        with _members(archive) as members, spool.open("xb") as out:
            budget = _Budget(archive, spool.parent)
            for member in members:
                budget.count_member()
                name = _checked(archive, member.name)
                if name is None or member.stream is None:
                    continue
                if name in spans:
                    _refuse(archive, f"it holds {quoted(member.name)} twice")
                if member.span:
                    spans[name] = Span(archive, *member.span, f"{archive.name}/{name}")
                    continue
                start = out.tell()
                while block := member.stream.read(_BLOCK):
                    budget.count_bytes(len(block))
                    out.write(block)
                spans[name] = Span(spool, start, out.tell() - start, f"{archive.name}/{name}")
    except (OSError, NotImplementedError) as error:  # bz2 raises OSError on damaged data
        raise UserError(f"{archive} cannot be unpacked ({short(str(error))}).") from None
    except _DAMAGED as error:
        raise UserError(f"{archive} is damaged ({short(str(error))}): replace it.") from None
    return spans


def in_tar(outer: Path | Span) -> dict[str, Span]:
    """Find the files in a plain tar file, which may lie inside another one, where they lie.

    Returns and raises what `unpack` does; a compressed tar file is refused as well.
    """
    path, start, _, name = outer if isinstance(outer, Span) else Span(outer, 0, 0, outer.name)
    spans: dict[str, Span] = {}
    try:
        with path.open("rb") as file:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in _tar_members(path, tar, plain=True):
                    inner = _checked(path, member.name)
                    if inner and member.span:
                        spans[inner] = Span(path, *member.span, f"{name}/{inner}")
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror or error}).") from None
    except _DAMAGED as error:
        reason = short(str(error))
        raise UserError(f"{name} is no plain tar file, or damaged ({reason}).") from None
    return spans


class _Budget:
    """Counts what comes out of an archive against the limits; headers are not believed."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive = archive
        self._packed = archive.stat().st_size
        self._free = disk_usage(folder).free
        self._members = 0
        self._bytes = 0

    def count_member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            _refuse(self._archive, f"it holds more than {MAX_MEMBERS:,} files")

    def count_bytes(self, number: int) -> None:
        self._bytes += number
        if self._bytes > MAX_BYTES:
            _refuse(self._archive, f"it unpacks to more than {MAX_BYTES / 2**30:.4g} GiB")
        if self._bytes > max(RATIO_FROM_BYTES, MAX_RATIO * self._packed):
            _refuse(
                self._archive,
                f"it unpacks to more than {MAX_RATIO} times its size, as an archive bomb does",
            )
        if self._bytes > self._free:
            raise UserError(f"{self._archive}: the disk is too full to unpack it: free some space.")


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(archive, packed)
        return
    try:
        tar = tarfile.open(archive, "r:*")  # noqa: SIM115 - closed below
    except (OSError, *_DAMAGED):
        raise UserError(
            f"{archive} is neither a zip nor a tar file (.tar, .tar.gz, .tar.bz2, .tar.xz), or is "
            "damaged."
        ) from None
    with tar:
        # Only a plain file is read by tarfile as what it is on disk.
        yield _tar_members(archive, tar, plain=isinstance(tar.fileobj, io.BufferedReader))


def _zip_members(archive: Path, packed: zipfile.ZipFile) -> Iterator[_Member]:
    for info in packed.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            _refuse(archive, f"{short(info.filename)} is a link or a device")
        if info.flag_bits & 1:
            raise UserError(f"{archive} is encrypted: unpack it yourself and use source folder.")
        if info.is_dir():
            yield _Member(info.filename, None)
        else:
            with packed.open(info) as stream:
                yield _Member(info.filename, stream)


def _tar_members(archive: Path, tar: tarfile.TarFile, plain: bool) -> Iterator[_Member]:
    end = archive.stat().st_size
    for info in tar:
        # Otherwise the list of members grows with every file that was passed.
        tar.members = []  # type: ignore[attr-defined]
        if info.isdir():
            yield _Member(info.name, None)
        elif not info.isreg():
            _refuse(archive, f"{short(info.name)} is a link or a device")
        elif not plain or info.issparse():
            yield _Member(info.name, tar.extractfile(info))
        elif not 0 <= info.size <= end - info.offset_data:
            raise EOFError("unexpected end of data")
        else:
            yield _Member(info.name, tar.extractfile(info), (info.offset_data, info.size))


def _checked(archive: Path, name: str) -> str | None:
    """A member's path in plain form; None for what is left out."""
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match("[A-Za-z]:", name):
        _refuse(archive, f"{quoted(name)} is an absolute path")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if ".." in parts:
        _refuse(archive, f"{quoted(name)} leads out of the folder")
    if any(map(is_hidden, parts)):
        return None
    return as_text("/".join(parts)) or "."


def _refuse(archive: Path, reason: str) -> NoReturn:
    raise UserError(f"{archive} is refused: {reason}; unpack it yourself if you trust it.")
