"""The real digits as `data/prepared` holds them, made in a moment for tests of the training."""

import csv
from pathlib import Path

import numpy as np

from classifier.core.files import write_json
from classifier.dataset.prepared import PreparedData


def prepared_digits(folder: Path, train: int = 1293, val: int = 144) -> PreparedData:
    """Write scikit-learn's digits, shuffled, as train and val splits; the rest is test."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels = np.round(images[order] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = labels[order].astype(np.int64)
    ends = {"train": (0, train), "val": (train, train + val), "test": (train + val, len(labels))}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "split", "row", "label", "width", "height"])
        for name, (start, end) in ends.items():
            np.save(folder / f"{name}.npy", pixels[start:end])
            np.save(folder / f"{name}_labels.npy", labels[start:end])
            for row in range(end - start):
                writer.writerow([f"{name}{row}", name, row, labels[start + row], 8, 8])
    scaled = pixels[:train] / 255
    meta = {
        "classes": [str(digit) for digit in range(10)],
        "channels": 1,
        "image_size": 8,
        "resize": "squash",
        "normalize": "standardize",
        "mean": [float(scaled.mean())],
        "std": [float(scaled.std())],
        "counts": {name: end - start for name, (start, end) in ends.items()},
    }
    write_json(folder / "meta.json", meta)
    return PreparedData.open(folder)
