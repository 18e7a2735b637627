"""A prepared set of made-up photographs, encoded or as arrays, for tests of what reads them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from classifier.dataset.prepared import PreparedData
from classifier.preprocessing.prepare import PreprocessParams, prepare
from tests.support.manifests import packed, photo

CLASSES = ("cat", "cow", "dog")
ENCODED = PreprocessParams(
    24, 3, "crop", "standardize", workers=1, storage="encoded", encoded_size=66
)


def prepared_photos(folder: Path, count: int = 120, **changes: Any) -> PreparedData:
    """Write ``count`` JPEG images of 66 pixels, seen in 24: of five, three for train, one each for
    val and test. ``changes`` are those of the parameters of preprocess."""
    raw = folder.with_name(f"{folder.name}-raw")
    images = [(CLASSES[seed % 3], photo(seed, (90, 70 + seed % 9))) for seed in range(count)]
    manifest = packed(raw, images)
    division = np.array(["train", "train", "val", "train", "test"])[np.arange(count) % 5]
    return prepare(raw, manifest, division, CLASSES, replace(ENCODED, **changes), folder)
