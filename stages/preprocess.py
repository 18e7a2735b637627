"""Decode and resize the images of each split into what training reads."""

from pathlib import Path

from classifier.core.files import read_json, replacing
from classifier.core.params import load
from classifier.core.process import stage
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits
from classifier.preprocessing.prepare import PreprocessParams, prepare

RAW = Path("data/raw")


def main() -> None:
    params = load("preprocess", PreprocessParams)
    splits, manifest = read_splits(Path("data/splits/split.csv"), Manifest.read(RAW))
    classes = read_json(RAW / "classes.json", "download")
    with replacing("data/prepared") as folder:
        data = prepare(RAW, manifest, splits, classes, params, folder)
    counts = ", ".join(f"{count} {name}" for name, count in data.meta["counts"].items())
    print(f"Prepared {counts} images of {data.meta['image_size']} pixels.")


if __name__ == "__main__":
    stage("preprocess", main)
