"""Where pictures come from: one module a kind of source, all ending in the same form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from classifier.sources import digits, folder
from classifier.sources.ingest import Summary, ingest
from classifier.sources.listing import Listing

SourceName = Literal[
    "digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "kmnist", "folder", "csv", "archive"
]


@dataclass(frozen=True)
class DownloadParams:
    """The section `download` of params.yaml."""

    source: SourceName
    path: str
    max_rejected: Annotated[float, Interval(ge=0, le=1)] = 0.01
    workers: Annotated[int, Interval(ge=0)] = 0


def download(params: DownloadParams, out: Path, cache: Path) -> Summary:
    """Take the pictures of the chosen source in and write them to ``out``.

    Args:
        params: which source, and its settings.
        out: the folder to fill: manifest.csv, shard-*.tar, classes.json, rejected.csv and
            source.json.
        cache: a folder that may be kept, for downloaded files.
    """
    return ingest(_listing(params), out, max_rejected=params.max_rejected, workers=params.workers)


def _listing(params: DownloadParams) -> Listing:
    if params.source == "digits":
        return digits.listing()
    return folder.listing(Path(params.path))
