"""What download.url names, on this machine: a file or a folder, from any kind of place."""

import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

from classifier.core.errors import UserError
from classifier.core.files import sha256 as sha256_of
from classifier.core.wording import printable
from classifier.sources.remote import drive, hub, kaggle, objects
from classifier.sources.remote.fetch import fetch, is_url, url_name
from classifier.sources.remote.transfer import RemoteFile

KINDS = ("http", "https", *objects.STORES, "hf", "gdrive", "kaggle")


class Copy(NamedTuple):
    """A file or folder on this machine, and what to call it, wherever it lies."""

    path: Path
    name: str


def bring(url: str, sha256: str | None, cache: Path) -> Copy:
    """A copy of the file or folder that ``url`` names.

    Args:
        url: an address of one of the `KINDS`.
        sha256: the file's checksum, 64 hex digits; a verified copy is not asked for again.
        cache: the folder in which copies are kept, one folder a URL; data sets of the Hub and of
            Kaggle are kept in their own.

    Raises:
        UserError: there is no such thing, it cannot be had, or it does not verify.
    """
    kind = url.partition(":")[0].lower()
    place = cache / hashlib.sha256(url.encode(errors="backslashreplace")).hexdigest()[:12]
    if sha256 and (kept := _kept(place, sha256)):
        return Copy(kept, kept.name)
    pinned = url
    if is_url(url):
        name = url_name(url)
        checksum = f"sha256:{sha256}" if sha256 else None
        ways_on = "check download.url and download.sha256"
        path = fetch(RemoteFile(name, checksum=checksum), [url], place, ways_on=ways_on)
    elif kind in objects.STORES:
        # The bucket is a part of the path, so that it has a name as well.
        name = url_name(url.replace("://", ":///", 1).rstrip("/"))
        path = objects.copy(url, place, name)
    elif kind == "gdrive":
        path = drive.copy(url, place, resume=sha256 is not None)
        name = path.name
    elif kind in ("hf", "kaggle"):
        path, name, pinned = hub.copy(url) if kind == "hf" else kaggle.copy(url)
    else:
        raise UserError(
            f"download.url: {url} is no address of a kind that can be read ({', '.join(KINDS)})."
        )
    if sha256 or (pinned == url and path.is_file()):
        _verify(path, url, sha256, place)
    elif pinned != url:
        said = f"{url} may change; to pin it, set download.url: {pinned}"
        print(printable(said), file=sys.stderr)
    return Copy(path, name)


def _kept(place: Path, sha256: str) -> Path | None:
    """The file in a folder of copies that has a checksum."""
    for path in place.iterdir() if place.is_dir() else ():
        whole = path.is_file() and path.suffix not in (".partial", ".part")
        if whole and sha256_of(path) == sha256.lower():
            return path
    return None


def _verify(path: Path, url: str, sha256: str | None, place: Path) -> None:
    """Compare a file with its checksum, or say what that would be."""
    if path.is_dir():
        raise UserError(f"download.sha256 is the checksum of a file, but {url} is a folder.")
    found = sha256_of(path)
    if sha256 is None:
        said = f"{path.name} was not verified; to pin it, set download.sha256: {found}"
        print(printable(said), file=sys.stderr)
    elif found != sha256.lower():
        removed = ""
        if path.parent == place:  # and not in a cache that other tools share
            path.unlink()
            removed = " and was removed"
        raise UserError(
            f"{path.name}: the copy from {url} has the SHA256 {found} where {sha256} is expected"
            f"{removed}: check download.url and download.sha256."
        )
