"""Bring a file from the first place that has it: resumed, retried, checked, and kept."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from classifier.errors import UserError

if TYPE_CHECKING:  # requests takes a tenth of a second to import, and most sources need no network
    import requests

_BLOCK = 2**18
_TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte
_TRIES = 3  # in a row without a new byte
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP states that may be over soon


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, its size in bytes, and its checksum as "md5:…" or "sha256:…".

    Without size or checksum, whatever arrives is believed, and is fetched anew each time.
    """

    name: str
    size: int | None = None
    checksum: str | None = None


def is_url(place: str) -> bool:
    """Whether a place is to be asked over HTTP, and not a folder of this machine."""
    return place.startswith(("http://", "https://"))


def url_name(url: str) -> str:
    """The file name at the end of a URL."""
    return unquote(Path(urlsplit(url).path).name) or "download"


def fetch(
    file: RemoteFile, places: Sequence[str], cache: Path, *, ways_on: str, pause: float = 0.5
) -> Path:
    """Return the path of a verified copy of ``file``.

    A copy in ``cache`` that verifies is used as it is. Otherwise the places are tried in order: a
    folder's file is used where it lies, a URL is downloaded into the cache. A download that broke
    off goes on where it stopped, in this run or in the next, if the server can do that.

    Args:
        file: what to bring.
        places: folders or base URLs that may hold a file of that name; a URL that ends with the
            file's own name is taken as the file itself.
        cache: the folder for downloads.
        ways_on: what the user can do when no place has the file; ends the error's sentence.
        pause: seconds before the first retry; each further pause is twice as long.

    Raises:
        UserError: no place has the file, or the only copies found do not verify.
    """
    target = cache / file.name
    if file.checksum and target.exists():
        if _fault(target, file) is None:
            return target
        target.unlink()
    faults: list[str] = []
    failures: list[str] = []
    for place in places:
        if not is_url(place):
            local = Path(place) / file.name
            if not local.is_file():
                failures.append(f"{place} (no such file)")
            elif fault := _fault(local, file):
                faults.append(f"{local} {fault}")
            else:
                return local
            continue
        url = place if url_name(place) == file.name else f"{place.rstrip('/')}/{file.name}"
        try:
            fault = _download(url, file, target, pause)
        except _UnreachableError as error:
            failures.append(f"{place} ({error})")
            continue
        if fault is None:
            return target
        faults.append(f"the copy from {place} {fault} and was removed")
    if faults:
        raise UserError(f"{file.name}: {'; '.join(faults)}: {ways_on}.")
    raise UserError(f"{file.name} could not be had from {', '.join(failures)}: {ways_on}.")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _UnreachableError(Exception):
    """A place cannot serve the file; the message says why."""


class _RefusedError(_UnreachableError):
    """The same, and asking again would not help."""


def _fault(path: Path, file: RemoteFile) -> str | None:
    """What is wrong with a copy, or None."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"has {size:,} bytes where {file.size:,} are expected"
    if file.checksum is None:
        return None
    kind, expected = file.checksum.split(":")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    if found != expected.lower():
        return f"has the {kind.upper()} {found} where {expected} is expected"
    return None


def _download(url: str, file: RemoteFile, target: Path, pause: float) -> str | None:
    """Download and verify; returns what is wrong with the file, which is removed then."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    # Bytes of an earlier run are only worth keeping if the whole can be verified afterwards.
    if not file.checksum:
        partial.unlink(missing_ok=True)
    resumed = partial.exists()
    _transfer(url, file, partial, pause)
    fault = _fault(partial, file)
    if fault and resumed:  # the earlier part may have come from elsewhere
        partial.unlink()
        _transfer(url, file, partial, pause)
        fault = _fault(partial, file)
    if fault:
        partial.unlink()
        return fault
    partial.replace(target)
    return None


def _transfer(url: str, file: RemoteFile, partial: Path, pause: float) -> None:
    """Fill ``partial`` up to its end, over as many requests as it takes."""
    import requests

    validator: str | None = None
    failed, before = 0, _size(partial)
    with requests.Session() as session:
        while True:
            try:
                validator = _request(session, url, file, partial, validator)
                return
            except _RefusedError:
                raise
            except (requests.RequestException, _UnreachableError) as error:
                reached = _size(partial)
                # A line that breaks often but brings something each time gets to the end.
                failed = 1 if reached > before else failed + 1
                before = reached
                if failed == _TRIES:
                    raise _UnreachableError(_reason(error)) from None
                if file.checksum is None and validator is None:
                    partial.unlink(missing_ok=True)
                time.sleep(pause * 2 ** (failed - 1))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _request(
    session: "requests.Session",
    url: str,
    file: RemoteFile,
    partial: Path,
    validator: str | None,
) -> str | None:
    """One request for the bytes that ``partial`` lacks; returns the answer's validator."""
    have = _size(partial)
    if file.size is not None and have >= file.size:
        return validator
    # Compressed in transit, sizes and ranges would not be those of the file.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing beyond what we have, or another file
            partial.unlink()
            raise _UnreachableError("it does not go on where the download stopped")
        if answer.status_code not in (200, 206):
            kind = _UnreachableError if answer.status_code in _PASSING else _RefusedError
            raise kind(f"HTTP {answer.status_code}")
        if answer.status_code == 200:
            have = 0
        announced = answer.headers.get("Content-Length")
        total = have + int(announced) if announced else file.size
        with (
            partial.open("ab" if have else "wb") as out,
            tqdm(
                desc=file.name, total=total, initial=have, unit="B", unit_scale=True,
                disable=None, dynamic_ncols=True,
            ) as bar,
        ):  # fmt: skip
            for block in answer.iter_content(_BLOCK):
                out.write(block)
                have += len(block)
                bar.update(len(block))
                if file.size is not None and have > file.size:
                    break
        if total is not None and have < total:
            raise _UnreachableError(f"the connection broke after {have:,} of {total:,} bytes")
        return answer.headers.get("ETag") or answer.headers.get("Last-Modified")


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)
