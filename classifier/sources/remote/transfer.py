"""Download one file over HTTP: resumed, retried, and never put together from two versions."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

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


class UnreachableError(Exception):
    """A place cannot serve the file; the message says why."""


class _RefusedError(UnreachableError):
    """The same, and asking again would not help."""


class Partial:
    """The beginning of a file beside its place, and which version of the file it is of.

    The server's validator (ETag or Last-Modified) is kept in a file of its own, so that a later run
    can ask for the rest of that very version.
    """

    def __init__(self, target: Path, url: str) -> None:
        self.path = target.with_name(target.name + ".partial")
        self.url = url
        self._target = target
        self._version = target.with_name(target.name + ".version")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def validator(self) -> str:
        """What the server called the version; empty if it gave none, or if it was another URL."""
        if not self._version.exists():
            return ""
        url, _, validator = self._version.read_text(encoding="utf-8").partition("\n")
        return validator if url == self.url else ""

    def begin(self, validator: str) -> None:
        """Start afresh with a version of the file."""
        self.remove()  # first, for old bytes must never lie beside a new validator
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if validator:
            self._version.write_text(f"{self.url}\n{validator}", encoding="utf-8")

    def finish(self) -> None:
        """Move the whole file to its place."""
        self.path.replace(self._target)
        self.remove()

    def remove(self) -> None:
        """Forget what is there."""
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)


def transfer(file: RemoteFile, partial: Partial, pause: float) -> None:
    """Fill ``partial`` up to its end, over as many requests as it takes.

    Args:
        file: what is fetched.
        partial: what there is of it, from an earlier run perhaps.
        pause: seconds before the first retry; each further pause is twice as long.

    Raises:
        UnreachableError: the URL does not give the file.
    """
    import requests

    failed, before = 0, partial.size
    with requests.Session() as session:
        while True:
            try:
                _request(session, file, partial)
                return
            except _RefusedError:
                raise
            except ValueError as error:
                raise UnreachableError(f"no address that can be asked: {error}") from None
            except (requests.RequestException, UnreachableError) as error:
                reached = partial.size
                # A line that breaks often but brings something each time gets to the end.
                failed = 1 if reached > before else failed + 1
                before = reached
                if failed == _TRIES:
                    raise UnreachableError(_reason(error)) from None
                time.sleep(pause * 2 ** (failed - 1))


def _request(session: "requests.Session", file: RemoteFile, partial: Partial) -> None:
    """One request for the bytes that ``partial`` lacks."""
    # Bytes are only worth keeping if the server can say, or the checksum will show, that the rest
    # belongs to them.
    if not file.checksum and not partial.validator:
        partial.remove()
    have = partial.size
    if file.size is not None and have >= file.size:
        return
    # Compressed in transit, sizes and ranges would not be those of the file.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if partial.validator:
            headers["If-Range"] = partial.validator
    with session.get(partial.url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        status = answer.status_code
        if status not in (200, 206, 416):
            kind = UnreachableError if status in _PASSING else _RefusedError
            raise kind(f"HTTP {status}")
        if status == 200:
            partial.begin(_validator(answer))
            have = 0
        elif not _goes_on(answer, partial):
            partial.remove()
            raise UnreachableError("it does not go on where the download stopped")
        announced = answer.headers.get("Content-Length", "")
        total = have + int(announced) if announced.isdecimal() else file.size
        with (
            partial.path.open("ab") as out,
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
            raise UnreachableError(f"the connection broke after {have:,} of {total:,} bytes")


def _goes_on(answer: "requests.Response", partial: Partial) -> bool:
    """Whether an answer holds the bytes after those that are there, of the same version."""
    begins = answer.headers.get("Content-Range", "").startswith(f"bytes {partial.size}-")
    versions = {partial.validator, _validator(answer)} - {""}
    return begins and len(versions) < 2


def _validator(answer: "requests.Response") -> str:
    """What If-Range may ask for: a strong ETag, or a date before that of the answer."""
    tag = answer.headers.get("ETag", "")
    if tag.startswith('"'):
        return tag
    modified = answer.headers.get("Last-Modified", "")
    return modified if modified != answer.headers.get("Date") else ""


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)
