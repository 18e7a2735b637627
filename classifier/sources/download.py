"""Where images come from: one module a kind of source, all ending in the same form."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from classifier.core.errors import UserError
from classifier.core.types import Workers
from classifier.core.wording import first, warn
from classifier.sources import archive, classes, folder, parquet
from classifier.sources.ingest import Summary, ingest
from classifier.sources.published import digits, imagenet, named
from classifier.sources.remote.bring import Copy, bring
from classifier.sources.source_index import Files, Listing, as_spans
from classifier.sources.tables import table
from classifier.sources.tables.columns import AUTO
from classifier.sources.tree import empty_folders, files_below

SourceName = Literal[
    "digits",
    "cifar10",
    "cifar100",
    "mnist",
    "fashion_mnist",
    "kmnist",
    "folder",
    "csv",
    "archive",
    "parquet",
    "imagenet",
]


@dataclass(frozen=True)
class DownloadParams:
    """The section `download` of params.yaml; see there for what each key means."""

    source: SourceName
    path: str
    max_rejected: Annotated[float, Interval(ge=0, le=1)] = 0.01
    workers: Workers = 0
    mirror: str | None = None
    url: str | None = None
    sha256: str | None = None
    table: str = "train.csv"
    val_table: str | None = None
    test_table: str | None = None
    image_folder: str | None = None
    val_image_folder: str | None = None
    test_image_folder: str | None = None
    image_column: str = "image"
    label_column: str = "label"
    group_column: str | None = None
    split_column: str | None = AUTO

    def __post_init__(self) -> None:
        if self.sha256 is not None and len(self.sha256) != 64:
            raise UserError("download.sha256 must be 64 hex digits.")


def check_path(params: DownloadParams) -> None:
    """Refuse a download.path that is not there, which DVC wants there whatever the source.

    Raises:
        UserError: there is no such file or folder.
    """
    if not Path(params.path).exists():
        raise UserError(
            f"download.path: {params.path} does not exist: name the folder, or for an archive the "
            "file, that holds your images; sources that need none take data/images."
        )


def download(params: DownloadParams, out: Path, cache: Path) -> Summary:
    """Take the images of the chosen source in and write them to ``out``.

    Args:
        params: which source, and its settings.
        out: the folder to fill: manifest.csv, shard-*.tar, classes.json, rejected.csv and
            source.json.
        cache: a folder for downloads, which later runs use again, and for unpacking archives.

    Raises:
        UserError: the source cannot be had, or is not what it should be.
    """
    with _listing(params, cache) as listing:
        for note in (*listing.notes, *classes.doubts(listing.classes)):
            warn(note)
        summary = ingest(listing, out, max_rejected=params.max_rejected, workers=params.workers)
    if summary.blank:
        warn(
            f"{len(summary.blank):,} of {summary.images:,} images are blank, of one color alone "
            f"({first(summary.blank)}): look at how they were made"
        )
    if summary.remarks:
        number = len(summary.remarks)
        warn(f"Pillow read images with {number:,} warnings: {first(summary.remarks)}")
    return summary


@contextmanager
def _listing(params: DownloadParams, cache: Path) -> Iterator[Listing]:
    if params.source == "digits":
        yield digits.listing()
    elif params.source == "folder":
        files, root = _files(params, cache)
        empty = () if params.url else empty_folders(root)
        yield folder.listing(files, root, empty=empty)
    elif params.source == "csv":
        if not params.url:
            table.check_root(Path(params.path))
        yield _read_table(params, *_files(params, cache))
    elif params.source == "parquet":
        columns = parquet.Columns(params.image_column, params.label_column, params.group_column)
        yield parquet.listing(*_files(params, cache, single=True), columns)
    elif params.source == "imagenet":
        yield imagenet.listing(*_files(params, cache))
    elif params.source == "archive":
        path, name = _place(params, cache)
        read_table = partial(_read_table, params)
        with archive.listing(
            path, name, params.table, read_table, params.label_column, cache
        ) as listing:
            yield listing
    else:
        yield named.listing(params.source, params.mirror, cache)


def _place(params: DownloadParams, cache: Path) -> Copy:
    """The file or folder that the parameters name, and what to call it."""
    if params.url:
        return bring(params.url, params.sha256, cache)
    return Copy(Path(params.path), Path(params.path).name)


def _files(params: DownloadParams, cache: Path, single: bool = False) -> tuple[Files, Path]:
    """The files of the folder that the parameters name, and what to call that folder.

    Args:
        params: what names it.
        cache: for downloads.
        single: whether it may be one file.
    """
    path, name = _place(params, cache)
    if single and path.is_file():
        return {path.name: path}, Path()
    if not params.url:
        return files_below(path), path
    if not path.is_dir():
        raise UserError(
            f"download.url: {params.url} is a file: name the folder that holds it, or set "
            "download.source to archive."
        )
    # Messages and tables name the files as they are called there: copies lie somewhere else on
    # each machine.
    return as_spans(files_below(path), name), Path(name)


def _read_table(params: DownloadParams, files: Files, root: Path) -> Listing:
    tables = {
        "train": (params.table, None),
        "val": (params.val_table, params.val_image_folder),
        "test": (params.test_table, params.test_image_folder),
    }
    parts = {
        origin: table.Part(path, params.image_folder if folder is None else folder)
        for origin, (path, folder) in tables.items()
        if path
    }
    columns = table.Columns(
        params.image_column, params.label_column, params.group_column, params.split_column
    )
    return table.listing(files, root, columns, parts, params.source)
