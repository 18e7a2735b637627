"""What download.url names, on this machine: a file or a folder, from any kind of place."""

import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

from classifier.core.errors import UserError
from classifier.core.files import sha256 as sha256_of
from classifier.sources.remote import hub, objects
from classifier.sources.remote.fetch import fetch, is_url, url_name
from classifier.sources.remote.transfer import RemoteFile

KINDS = ("http", "https", *objects.STORES, "hf")


class Copy(NamedTuple):
    """A file or folder on this machine, and what to call it, wherever it lies."""

    path: Path
    name: str


def bring(url: str, sha256: str | None, cache: Path) -> Copy:
    """A copy of the file or folder that ``url`` names.

    Args:
        url: an address of one of the `KINDS`.
        sha256: the file's checksum, 64 hex digits; a verified copy is not asked for again.
        cache: the folder in which copies are kept, one folder a URL; data sets of the Hub are kept
            in its own.

    Raises:
        UserError: there is no such thing, it cannot be had, or it does not verify.
    """
    kind = url.partition(":")[0].lower()
    place = cache / hashlib.sha256(url.encode(errors="backslashreplace")).hexdigest()[:12]
    # A folder of a store, and the store itself, have a name as well.
    name = url_name(url if is_url(url) else url.replace("://", ":///", 1).rstrip("/"))
    kept = place / name
    if sha256 and kept.is_file() and sha256_of(kept) == sha256.lower():
        return Copy(kept, name)
    if is_url(url):
        checksum = f"sha256:{sha256}" if sha256 else None
        ways_on = "check download.url and download.sha256"
        path = fetch(RemoteFile(name, checksum=checksum), [url], place, ways_on=ways_on)
        if sha256:
            return Copy(path, name)
    elif kind in objects.STORES:
        path = objects.copy(url, place, name)
    elif kind == "hf":
        path, name = hub.copy(url)
    else:
        raise UserError(
            f"download.url: {url} is no address of a kind that can be read ({', '.join(KINDS)})."
        )
    _verify(path, url, sha256)
    return Copy(path, name)


def _verify(path: Path, url: str, sha256: str | None) -> None:
    """Compare a file with its checksum, or say what that would be."""
    if path.is_dir():
        if sha256:
            raise UserError(f"download.sha256 is the checksum of a file, but {url} is a folder.")
        return
    found = sha256_of(path)
    if sha256 is None:
        print(
            f"{path.name} was not verified; to pin it, set download.sha256: {found}",
            file=sys.stderr,
        )
    elif found != sha256.lower():
        path.unlink()
        raise UserError(
            f"{path.name}: the copy from {url} has the SHA256 {found} where {sha256} is expected "
            "and was removed: check download.url and download.sha256."
        )
