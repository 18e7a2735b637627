"""Images in one zip or tar file, laid out as class folders or a table."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from classifier.core.errors import UserError
from classifier.sources import folder
from classifier.sources.layout import below_single_folders
from classifier.sources.naming import suffix
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


def find(path: Path) -> Path:
    """The archive that a path names: the file itself, or the only file in the folder."""
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
