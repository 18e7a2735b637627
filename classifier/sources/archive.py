"""Images in zip or tar files, laid out as class folders, a table, or WebDataset samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from classifier.core.errors import UserError
from classifier.core.files import passing
from classifier.core.wording import quoted
from classifier.sources import folder, webdataset
from classifier.sources.layout import below_single_folders
from classifier.sources.naming import is_side_file
from classifier.sources.source_index import Files, Listing, Span, as_spans
from classifier.sources.tree import files_below
from classifier.sources.unpack import unpack

_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@contextmanager
def listing(
    path: Path,
    name: str,
    table: str,
    read_table: Callable[[Files, Path], Listing],
    label_key: str,
    cache: Path,
) -> Iterator[Listing]:
    """List the images in archives; what had to be unpacked lasts as long as the context.

    Args:
        path: the zip or tar file, or a folder of them. Several archives are taken for folders of
            their names, and WebDataset's shards for one set; tables may lie beside them.
        name: what to call a folder of archives.
        table: path of a table; where there is one, ``read_table`` lists the files, otherwise their
            class folders are listed.
        read_table: lists files with a table among them, given them and what to call their root.
        label_key: the key of the label in the JSON files of WebDataset.
        cache: where the archives may be unpacked for the time.

    Raises:
        UserError: an archive cannot be unpacked, or they hold none of the layouts.
    """
    archives, beside = _find(path, name)
    with passing(cache / "unpacked") as temporary:
        temporary.mkdir()
        unpacked = {
            archive: unpack(archive, temporary / f"files-{number}")
            for number, archive in enumerate(archives)
        }
        single = len(archives) == 1
        root = Path(archives[0].name if single else name)
        if any(webdataset.holds_samples(spans) for spans in unpacked.values()):
            shards = {_stem(archive): spans for archive, spans in unpacked.items()}
            yield webdataset.listing(shards, beside, root.as_posix(), label_key)
            return
        apart = single and table not in beside
        files = unpacked[archives[0]] if apart else _joined(unpacked, beside)
        files, root = below_single_folders(files, root, table)
        if table in files:
            yield read_table(files, root)
        else:
            yield folder.listing(files, root, "archive")


def _find(path: Path, name: str) -> tuple[Sequence[Path], Files]:
    """The archives that a path names, and what lies beside them in their folder."""
    if path.is_file():
        return [path], {}
    if not path.exists():
        raise UserError(
            f"download.path: the archive {path} does not exist: name a zip or tar file, or set "
            "download.url."
        )
    found = files_below(path)
    files = {below: file for below, file in sorted(found.items()) if not is_side_file(below)}
    archives = [file for below, file in files.items() if below.lower().endswith(_ENDINGS)]
    # The only file is the archive, whatever it is called.
    archives = archives or list(files.values())[: len(files) == 1]
    if not archives:
        raise UserError(
            f"download.path: {path} is a folder with {len(files)} files: name the zip or tar file "
            "itself, or set download.url."
        )
    beside = {below: file for below, file in found.items() if file not in archives}
    return archives, as_spans(beside, name)


def _joined(unpacked: Mapping[Path, Mapping[str, Span]], beside: Files) -> Files:
    """The files of archives, below the names of those, and what lies beside them."""
    joined = dict(beside)
    for archive, spans in unpacked.items():
        top = _stem(archive)
        if any(name.startswith(f"{top}/") for name in joined):
            raise UserError(f"{archive.parent} has two archives or folders called {quoted(top)}.")
        joined |= {f"{top}/{name}": span for name, span in spans.items()}
    return joined


def _stem(archive: Path) -> str:
    """The name of an archive without its ending."""
    name = archive.name
    ending = next((end for end in _ENDINGS if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)]
