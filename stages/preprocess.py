"""Decode and resize the images of each split into memory-mapped arrays."""

from pathlib import Path

from classifier.files import read_json, replacing
from classifier.manifest import Manifest
from classifier.params import load
from classifier.prepare import PreprocessParams, prepare
from classifier.process import stage
from classifier.splits import read_splits

RAW = Path("data/raw")


def main() -> None:
    params = load("preprocess", PreprocessParams)
    manifest = Manifest.read(RAW)
    splits = read_splits(Path("data/splits/split.csv"), manifest)
    classes = read_json(RAW / "classes.json")
    with replacing("data/prepared") as folder:
        data = prepare(RAW, manifest, splits, classes, params, folder)
    counts = ", ".join(f"{count} {name}" for name, count in data.meta["counts"].items())
    print(f"Prepared {counts} images of {data.meta['image_size']} pixels.")


if __name__ == "__main__":
    stage("preprocess", main)
