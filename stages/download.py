"""Stage download: images from any source, checked one by one and packed into a few shards."""

from pathlib import Path

from classifier.core.files import replacing
from classifier.core.params import load
from classifier.core.process import run_dir, stage
from classifier.sources.download import DownloadParams, download


def main() -> None:
    """Write data/raw from the source that params.yaml names."""
    params = load("download", DownloadParams)
    with replacing(Path("data/raw")) as folder:
        summary = download(params, folder, run_dir() / "downloads")
    print(
        f"{summary.images:,} images, {summary.classes} classes, "
        f"{summary.unlabelled:,} unlabelled, {summary.rejected:,} rejected (data/raw/rejected.csv)"
    )


if __name__ == "__main__":
    stage("download", main)
