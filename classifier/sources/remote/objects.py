"""Copy a file or a folder from an object store: S3, Google Cloud Storage, Azure Blob Storage.

fsspec speaks to all three, with the credentials that each one's own tools leave on this machine.
A copy appears whole or not at all. What an earlier run has copied is kept where the store still has
the same version, and a large file goes on where it stopped.
"""

import importlib.util
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tqdm import tqdm

from classifier.core.errors import UserError, not_installed
from classifier.core.wording import quoted, short
from classifier.sources.naming import is_hidden
from classifier.sources.remote.transfer import Partial

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_PIECE = 16 * 2**20  # bytes asked for at a time; a larger file is copied piece by piece
_BATCH_BYTES = 4 * _PIECE  # of pieces that are under way at once, and so in memory
_BATCH_PIECES = 256
_VERSIONS = ("ETag", "etag", "md5Hash")  # what the stores call a version of an object

_Answer = TypeVar("_Answer")


class _Store(NamedTuple):
    """One kind of store: the module that speaks to it, our extra, and where credentials come from.

    ``credentials`` ends a sentence.
    """

    module: str
    extra: str
    credentials: str


STORES = {
    "s3": _Store(
        "s3fs",
        "s3",
        "run aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and "
        "AWS_ENDPOINT_URL for a server of your own)",
    ),
    "gs": _Store(
        "gcsfs",
        "gs",
        "run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "az": _Store(
        "adlfs",
        "az",
        "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and run az login",
    ),
}


class _Object(NamedTuple):
    """A file in a store: its path there, its bytes, and what the store calls this version."""

    path: str
    size: int
    version: str


class _Piece(NamedTuple):
    """Some bytes of the object that is copied to ``name``."""

    name: str
    start: int
    end: int


def copy(url: str, place: Path, name: str) -> Path:
    """Copy a file or folder of a store to ``name`` in the folder ``place``.

    A folder's hidden files are left out, and what an earlier copy has beyond it is removed.

    Args:
        url: an address that begins with one of the `STORES`.
        place: the folder for this URL alone, with what is noted of its versions.
        name: what to call the copy.

    Returns:
        The copy: a file or a folder.

    Raises:
        UserError: a package or the credentials are missing, there is nothing of that name, or it
            cannot be copied.
    """
    target = place / name
    fs = _connect(url)
    root = fs._strip_protocol(url).rstrip("/")
    info = _ask(url, lambda: fs.info(root))
    if info["type"] == "file":
        _copy_all(url, fs, place, {name: _Object(root, info["size"], _version(info))})
        return target
    found = _ask(url, lambda: fs.find(root, detail=True))
    visible = {
        f"{name}/{below}": _Object(path, info["size"], _version(info))
        for path, info in sorted(found.items())
        if info["type"] == "file" and not path.endswith("/")
        for below in [path.removeprefix(root).lstrip("/")]
        if not any(map(is_hidden, _parts(url, below)))
    }
    if not visible:
        raise UserError(
            f"download.url: {url} holds no files but such as are hidden by their names."
        )
    for path in [path for path in target.rglob("*") if path.is_file()]:
        below = path.relative_to(place).as_posix()
        if below not in visible and re.sub(r"\.(partial|version)$", "", below) not in visible:
            path.unlink()
    _copy_all(url, fs, place, visible)
    return target


def _connect(url: str) -> "AbstractFileSystem":
    scheme = url.partition(":")[0].lower()
    store = STORES[scheme]
    if importlib.util.find_spec(store.module) is None:
        raise not_installed(store.module, store.extra)
    import fsspec

    # gcsfs prints a traceback of what it raises, which is told in a sentence here.
    logging.getLogger(store.module).setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":  # the other two try without credentials by themselves
        import botocore.session

        options["anon"] = botocore.session.Session().get_credentials() is None
    return _ask(url, lambda: fsspec.filesystem(scheme, **options))


def _ask(url: str, question: Callable[[], _Answer]) -> _Answer:
    """What a store answers; the libraries raise errors of many kinds, which have no common base."""
    store = STORES[url.partition(":")[0].lower()]
    try:
        return question()
    except FileNotFoundError:
        raise UserError(f"download.url: there is nothing at {url}: check the address.") from None
    except Exception as error:
        reason = short(" ".join(str(error).split()) or type(error).__name__)
        raise UserError(
            f"download.url: {url} cannot be read ({reason}): check the address and the network, "
            f"and for credentials {store.credentials}."
        ) from None


def _parts(url: str, name: str) -> list[str]:
    """The parts of an object's path below a folder; whoever wrote it may have wanted to escape."""
    parts = name.split("/")
    if {"", ".", ".."}.intersection(parts) or "\\" in name or "\0" in name:
        raise UserError(f"download.url: {url} has {quoted(name)}, which is no path: rename it.")
    return parts


def _copy_all(
    url: str, fs: "AbstractFileSystem", place: Path, objects: Mapping[str, _Object]
) -> None:
    """Bring the copies in ``place`` up to date; keys are their paths there."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        log = place / "versions.jsonl"
        known = _known(log)
        missing = {
            name: one
            for name, one in objects.items()
            if not one.version or known.get(name) != one.version or not (place / name).is_file()
        }
        with (
            log.open("a", encoding="utf-8") as versions,
            tqdm(
                total=sum(one.size for one in missing.values()), desc=url, unit="B",
                unit_scale=True, disable=None, dynamic_ncols=True,
            ) as bar,
        ):  # fmt: skip
            for batch in _batches(_pieces(missing, place)):
                answers = _ask(url, partial(_read, fs, missing, batch))
                for piece, data in zip(batch, answers, strict=True):
                    one = missing[piece.name]
                    _append(url, Partial(place / piece.name, one.path), piece, data)
                    if piece.end == one.size:
                        _finish(url, fs, Partial(place / piece.name, one.path), one)
                        versions.write(json.dumps([piece.name, one.version]) + "\n")
                    bar.update(len(data))
                versions.flush()
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error.strerror or error}).") from None


def _pieces(objects: Mapping[str, _Object], place: Path) -> Iterator[_Piece]:
    """The pieces that the copies lack, one after the other, and at least one of each copy."""
    for name, one in objects.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        begun = Partial(place / name, one.path)
        if not one.version or begun.validator != one.version or begun.size > one.size:
            begun.begin(one.version)
        have = begun.size
        for start in range(have, max(one.size, have + 1), _PIECE):
            yield _Piece(name, start, min(start + _PIECE, one.size))


def _batches(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    for piece in pieces:
        batch.append(piece)
        if len(batch) == _BATCH_PIECES or sum(p.end - p.start for p in batch) >= _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _read(
    fs: "AbstractFileSystem", objects: Mapping[str, _Object], pieces: list[_Piece]
) -> list[bytes]:
    """The bytes of each piece, asked for at the same time."""
    full = [piece for piece in pieces if piece.end > piece.start]
    paths = [objects[piece.name].path for piece in full]
    starts, ends = [piece.start for piece in full], [piece.end for piece in full]
    answers = fs.cat_ranges(paths, starts, ends)
    if failure := next((answer for answer in answers if isinstance(answer, Exception)), None):
        raise failure
    given = iter(answers)
    return [next(given) if piece.end > piece.start else b"" for piece in pieces]


def _append(url: str, begun: Partial, piece: _Piece, data: bytes) -> None:
    if len(data) != piece.end - piece.start:
        raise _changed(url)
    with begun.path.open("ab") as out:
        out.write(data)


def _finish(url: str, fs: "AbstractFileSystem", begun: Partial, one: _Object) -> None:
    """Move a whole copy to its place; pieces of two versions are no copy of either."""
    if one.size > _PIECE and _version(_ask(url, lambda: fs.info(one.path))) != one.version:
        begun.remove()
        raise _changed(url)
    begun.finish()


def _changed(url: str) -> UserError:
    return UserError(f"{url} changed while it was read: run the same command again.")


def _version(info: Mapping[str, Any]) -> str:
    return str(next(filter(None, map(info.get, _VERSIONS)), ""))


def _known(log: Path) -> dict[str, str]:
    """The version of each copy; a run that was killed may have left half a line."""
    known: dict[str, str] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        with suppress(ValueError):
            name, version = json.loads(line)
            known[name] = version
    return known
