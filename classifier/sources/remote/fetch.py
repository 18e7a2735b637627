"""Bring a file from the first place that has it: checked, and kept."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from classifier.core.errors import UserError
from classifier.sources.remote.transfer import Partial, RemoteFile, UnreachableError, transfer

_LONGEST_NAME = 100  # bytes of UTF-8; file systems take 255, and names are made longer


def is_url(place: str) -> bool:
    """Whether a place is to be asked over HTTP, and not a folder of this machine."""
    return place.lower().startswith(("http://", "https://"))


def url_name(url: str) -> str:
    """A file name for what a URL names: the end of its path, or "download" if that names nothing.

    Whoever wrote the URL chose it, so it never leads into another folder, is valid on every file
    system, and is short enough for the names that are made from it.
    """
    path = re.split("[?#]", url, maxsplit=1)[0].partition("://")[2].partition("/")[2]
    last = re.split(r"[/\\]", unquote(path))[-1]
    plain = "".join(c if c.isprintable() and c not in '<>:"|?*' else "_" for c in last)
    ending = plain.encode(errors="replace")[-_LONGEST_NAME:].decode(errors="ignore")
    return ending.strip(". ") or "download"


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
        except UnreachableError as error:
            failures.append(f"{place} ({error})")
            continue
        except OSError as error:
            raise UserError(f"{target} cannot be written ({error.strerror or error}).") from None
        if fault is None:
            return target
        faults.append(f"the copy from {place} {fault} and was removed")
    if faults:
        raise UserError(f"{file.name}: {'; '.join(faults)}: {ways_on}.")
    raise UserError(f"{file.name} could not be had from {', '.join(failures)}: {ways_on}.")


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
    partial = Partial(target, url)
    resumed = partial.size > 0
    transfer(file, partial, pause)
    fault = _fault(partial.path, file)
    if fault and resumed:  # the earlier part may have come from elsewhere
        partial.remove()
        transfer(file, partial, pause)
        fault = _fault(partial.path, file)
    if fault:
        partial.remove()
        return fault
    partial.finish()
    return None
