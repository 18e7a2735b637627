"""Images in one zip or tar file, here or behind a URL, laid out as class folders or a table."""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from classifier.core.errors import UserError
from classifier.sources import folder
from classifier.sources.layout import below_single_folders
from classifier.sources.naming import suffix
from classifier.sources.remote.fetch import fetch, is_url, sha256_of, url_name
from classifier.sources.remote.transfer import RemoteFile
from classifier.sources.source_index import Files, Listing
from classifier.sources.tree import files_below
from classifier.sources.unpack import unpack


@contextmanager
def listing(
    archive: Path, table: str, read_table: Callable[[Files, Path], Listing], cache: Path
) -> Iterator[Listing]:
    """Unpack an archive and list its images; the unpacked files last as long as the context.

    Args:
        archive: the zip or tar file.
        table: path of a table; where the archive holds it, ``read_table`` lists the files,
            otherwise its class folders are listed.
        read_table: lists files with a table among them, given them and what to call their root.
        cache: where the archive may be unpacked for the time.

    Raises:
        UserError: the archive cannot be unpacked or holds neither layout.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=cache) as temporary:
        spans = unpack(archive, Path(temporary) / "files")
        files, root = below_single_folders(spans, Path(archive.name), table)
        if table in files:
            yield read_table(files, root)
        else:
            yield folder.listing(files, root, "archive")


def local(path: Path) -> Path:
    """The archive that download.path names: the file itself, or the only file in the folder."""
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(
            f"download.path: the archive {path} does not exist: name a zip or tar file, or set "
            "download.url."
        )
    found = files_below(path)
    files = [file for name, file in found.items() if suffix(name) != ".md"]
    if len(files) != 1:
        raise UserError(
            f"download.path: {path} is a folder with {len(files)} files: name the zip or tar file "
            "itself, or set download.url."
        )
    return files[0]


def remote(url: str, sha256: str | None, cache: Path) -> Path:
    """The archive behind ``url``, fetched into ``cache``; kept from run to run if verified."""
    if not is_url(url):
        raise UserError(f"download.url: {url} is no http or https address.")
    checksum = f"sha256:{sha256}" if sha256 else None
    file = RemoteFile(url_name(url), checksum=checksum)
    place = cache / hashlib.sha256(url.encode(errors="backslashreplace")).hexdigest()[:12]
    path = fetch(file, [url], place, ways_on="check download.url and download.sha256")
    if sha256 is None:
        print(
            f"{file.name} was not verified; to pin it, set download.sha256: {sha256_of(path)}",
            file=sys.stderr,
        )
    return path
