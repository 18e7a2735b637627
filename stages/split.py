"""Divide the pictures into train, validation and test, and report on their quality."""

from pathlib import Path

from classifier.files import write_json
from classifier.manifest import Manifest
from classifier.params import load
from classifier.process import stage
from classifier.splits import SplitParams, assign, write_splits

RAW = Path("data/raw")


def main() -> None:
    params = load("split", SplitParams)
    manifest = Manifest.read(RAW)
    splits = assign(manifest, params)
    write_splits(Path("data/splits/split.csv"), manifest, splits)
    write_json("metrics/quality.json", {"images": len(manifest)})


if __name__ == "__main__":
    stage("split", main)
