"""Made-up manifests for the tests of duplicates, split, quality and preprocess."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from classifier.images.hashing import content_hash, hash_hex, perceptual_hash
from classifier.images.manifest import Manifest
from classifier.images.store import Record, shard_writer, write_manifest

_IN_A_SHARD = 20


def made_up(labels: Iterable[str], **columns: Any) -> Manifest:
    """A manifest without images: ids p00000…, nothing alike; ``columns`` replace the defaults."""
    label = list(labels)
    n = len(label)
    random = np.random.default_rng(0)
    values: dict[str, Any] = {
        "id": [f"p{row:05d}" for row in range(n)],
        "label": label,
        "origin": np.full(n, ""),
        "group": np.full(n, ""),
        "width": np.full(n, 32),
        "height": np.full(n, 32),
        "mode": np.full(n, "RGB"),
        "content": [f"{row:032x}" for row in range(n)],
        "phash": random.integers(0, 2**64, n, np.uint64),
        "shard": np.full(n, "shard-00000.tar"),
        "offset": np.zeros(n, np.int64),
        "size": np.zeros(n, np.int64),
    }
    given = {name: np.asarray(value) for name, value in {**values, **columns}.items()}
    return Manifest(**given)


def packed(
    folder: Path,
    images: Iterable[tuple[str, Image.Image]],
    origins: Iterable[str] | None = None,
    kind: str = "png",
) -> Manifest:
    """Write (label, image) pairs as shards and a manifest; ids are their numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    images = list(images)
    origins = list(origins) if origins is not None else [""] * len(images)
    records = []
    for first in range(0, len(images), _IN_A_SHARD):
        with shard_writer(folder / f"shard-{first // _IN_A_SHARD:05d}.tar") as add:
            for number in range(first, min(first + _IN_A_SHARD, len(images))):
                label, image = images[number]
                data = io.BytesIO()
                image.save(data, kind)
                name = f"{number:04d}"
                place = add(f"{name}.{kind}", data.getvalue())
                records.append(
                    Record(
                        name, label, origins[number], "", *image.size, image.mode,
                        content_hash(image), hash_hex(perceptual_hash(image)), *place,
                    )
                )  # fmt: skip
    write_manifest(folder, records)
    return Manifest.read(folder)


def photo(seed: int, size: tuple[int, int] = (48, 40), mode: str = "RGB") -> Image.Image:
    """An image of smooth random blobs: unlike any other seed's, like its own altered copies."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode)
