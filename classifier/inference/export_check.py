"""How an exported model agrees with the original, and how fast it answers."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from classifier.core.resize import to_array
from classifier.core.types import Float32Array, UInt8Array
from classifier.dataset.prepared import PreparedData
from classifier.dataset.stored_images import Images
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.images.store import read_bytes
from classifier.models.spec import ModelSpec

# A bar in a terminal alone, which goes when it is full.
BAR: dict[str, Any] = {"leave": False, "disable": None, "delay": 1, "dynamic_ncols": True}


@dataclass(frozen=True)
class Agreement:
    """How two models agree on some images: the largest difference of a probability (0..1), and
    the fraction of images (0..1) that get the same class."""

    images: int
    largest_difference: float
    same_class: float


def agreement(expected: Float32Array, found: Float32Array) -> Agreement:
    """Compare probabilities [N, K]."""
    same = (expected.argmax(axis=1) == found.argmax(axis=1)).mean()
    return Agreement(len(expected), float(np.abs(expected - found).max()), float(same))


def latency(answer: Callable[[UInt8Array], Any], images: UInt8Array, seconds: float = 0.5) -> float:
    """Median milliseconds that ``answer(images)`` takes, over at least 5 calls."""
    answer(images)
    times: list[float] = []
    while len(times) < 5 or sum(times) < seconds:
        started = time.perf_counter()
        answer(images)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def in_batches(
    answer: Callable[[UInt8Array], Float32Array], images: Images, size: int = 256
) -> Float32Array:
    """Probabilities of many images, in constant memory but for the result."""
    starts = tqdm(range(0, len(images), size), **BAR)
    return np.concatenate([answer(np.asarray(images[at : at + size])) for at in starts])


def originals(
    raw: Path, data: PreparedData, split: str, spec: ModelSpec, most: int
) -> Iterator[tuple[UInt8Array, UInt8Array]]:
    """Yield images of a split that are not of the model's size, at most ``most``.

    As training prepares them, [S, S, C], and whole, [H, W, C], as other programs decode them.
    """
    manifest = Manifest.read(raw)
    place = {name: row for row, name in enumerate(manifest.id.tolist())}
    rows = [place[name] for name in data.ids(split) if name in place]
    size = spec.image_size
    rows = [row for row in rows if (manifest.width[row], manifest.height[row]) != (size, size)]
    for row in tqdm(rows[:: max(1, len(rows) // most)][:most], **BAR):
        shard, at, length = manifest.shard[row], manifest.offset[row], manifest.size[row]
        encoded = read_bytes(raw, str(shard), int(at), int(length))
        image = decode(encoded, spec.value_range)
        seen = decode(encoded, spec.value_range, enough=spec.resize.enough(size))
        ready = to_array(seen, size, spec.channels, spec.resize)
        whole = np.asarray(image.convert("L" if spec.channels == 1 else "RGB"))
        yield ready, whole.reshape(*whole.shape[:2], spec.channels)
