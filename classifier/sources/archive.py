"""Pictures in one zip or tar file, here or behind a URL, laid out as class folders or a table."""

import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from classifier.errors import UserError
from classifier.images import EXTENSIONS
from classifier.sources import folder
from classifier.sources.fetch import RemoteFile, fetch, is_url, sha256_of, url_name
from classifier.sources.listing import Listing
from classifier.sources.unpack import unpack


@contextmanager
def listing(
    archive: Path, table: str, read_table: Callable[[Path], Listing], cache: Path
) -> Iterator[Listing]:
    """Unpack an archive and list its pictures; the unpacked files last as long as the context.

    Args:
        archive: the zip or tar file.
        table: file name of a table; where the archive holds it, ``read_table`` lists the folder
            that it lies in, otherwise its class folders are listed.
        read_table: lists a folder with a table in it.
        cache: where the archive may be unpacked for the time.

    Raises:
        UserError: the archive cannot be unpacked or holds neither layout.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=cache) as temporary:
        root = Path(temporary) / archive.name
        unpack(archive, root)
        root = _below_single_folders(root, table)
        try:
            found = (
                read_table(root) if (root / table).is_file() else folder.listing(root, "archive")
            )
        except UserError as error:
            # The temporary path means nothing to the user.
            raise UserError(str(error).replace(str(Path(temporary)) + "/", "")) from None
        yield replace(found, base=Path(temporary))


def local(path: Path) -> Path:
    """The archive that download.path names: the file itself, or the only file in the folder."""
    if path.is_file():
        return path
    if not path.exists():
        raise UserError(
            f"download.path: the archive {path} does not exist: name a zip or tar file, or set "
            "download.url."
        )
    files = [entry for entry in folder.visible(path)[1] if entry.suffix.lower() != ".md"]
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
    place = cache / hashlib.sha256(url.encode()).hexdigest()[:12]
    path = fetch(file, [url], place, ways_on="check download.url and download.sha256")
    if sha256 is None:
        print(
            f"{file.name} was not verified; to pin it, set download.sha256: {sha256_of(path)}",
            file=sys.stderr,
        )
    return path


def _below_single_folders(root: Path, table: str) -> Path:
    """Go down while there is one folder and nothing else, as when a whole folder was packed."""
    while not (root / table).is_file():
        folders, files = folder.visible(root)
        if len(folders) != 1 or any(file.suffix.lower() in EXTENSIONS for file in files):
            break
        inner, _ = folder.visible(folders[0])
        if folders[0].name.lower() in folder.SPLITS and inner:
            break
        if not inner and not (folders[0] / table).is_file():
            break  # pictures right below: a class
        root = folders[0]
    return root
