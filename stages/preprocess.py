"""Decode and resize the images of each split into what training reads."""

from pathlib import Path

from classifier.core.files import read_json, replacing
from classifier.core.params import load
from classifier.core.pretrained import Start, input_of
from classifier.core.process import stage
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits
from classifier.preprocessing.automatic import settled
from classifier.preprocessing.params import PreprocessParams
from classifier.preprocessing.prepare import prepare

RAW = Path("data/raw")


def main() -> None:
    start = load("model", Start, only=("name", "pretrained"))
    wanted = input_of(start)
    splits, manifest = read_splits(Path("data/splits/split.csv"), Manifest.read(RAW))
    classes = read_json(RAW / "classes.json", "download")
    params = load("preprocess", PreprocessParams)
    params, lines = settled(params, manifest.width, manifest.height, start, wanted)
    print("\n".join(lines), end="\n" * bool(lines), flush=True)
    with replacing("data/prepared") as folder:
        data = prepare(RAW, manifest, splits, classes, params, folder)
    counts = ", ".join(f"{count} {name}" for name, count in data.meta["counts"].items())
    print(f"Prepared {counts} images of {data.meta['image_size']} pixels.")


if __name__ == "__main__":
    stage("preprocess", main)
