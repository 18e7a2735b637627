"""Turn images of any kind into what training reads, in parallel and in constant memory."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import write_array_header_1_0
from tqdm import tqdm

from classifier.core.csv_files import row_writer
from classifier.core.engine import on_ray
from classifier.core.errors import UserError
from classifier.core.files import write_json
from classifier.core.resize import SQUASH, Resize, described, to_array
from classifier.core.types import Int64Array, TextArray, UInt8Array
from classifier.core.value_range import Ranges
from classifier.dataset.prepared import PREPARED_SPLITS, PreparedData
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.images.parallel import ordered_map
from classifier.images.store import read_bytes
from classifier.preprocessing.automatic import automatic_channels, settled
from classifier.preprocessing.encode import Encoding, counted, write_encoded
from classifier.preprocessing.params import PreprocessParams
from classifier.preprocessing.value_range import measured, undecodable

ENCODED_SCALE = 256 / 224  # of image_size: the customary ratio of what is stored to what is seen
CHUNK_BYTES = 4 << 20  # of pixels: what a worker holds in memory
PART_BYTES = 256 << 20  # of pixels: as many images as fit are in a file
FEW_BYTES = 4 << 20  # of encoded images: less work than starting processes is


def prepare(
    raw: Path,
    manifest: Manifest,
    splits: TextArray,
    classes: Sequence[str],
    params: PreprocessParams,
    folder: Path,
) -> PreparedData:
    """Decode, convert and resize every image that has a split, and write ``folder``.

    The images of a split are in one file, or where they are more than PART_BYTES, in files of that
    size; on a cluster one worker writes each file, from its start to its end. The bytes written
    depend on the images, the splits and the parameters, never on the number of workers or their
    timing. Each process holds a few MB of pixels at a time.

    With ``storage: encoded`` the images are encoded anew at a working resolution instead of being
    resized, as many to a file, each of which one worker writes. Mean and deviation are those of the
    views that evaluation will see of them.

    Args:
        raw: the folder with the shards.
        manifest: the images.
        splits: [N] split of each; ``excluded`` images are left out.
        classes: class names in label order.
        params: size, channels, resize, normalization, processes, storage.
        folder: an empty or missing folder to write into.

    Raises:
        UserError: an image cannot be decoded; the sentence names its id. Or the working resolution
            is below that of the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    params, _ = settled(params, manifest.width, manifest.height)
    assert params.image_size != "auto"
    size = params.image_size
    stored_size = (
        working_size(params.encoded_size, size, params.how) if params.storage == "encoded" else size
    )
    channels = params.channels
    if channels == "auto":
        channels = automatic_channels(manifest.mode)
    rows = {name: np.flatnonzero(splits == name) for name in PREPARED_SPLITS}
    rows = {name: found for name, found in rows.items() if len(found)}
    number = {"": -1} | {name: index for index, name in enumerate(classes)}
    label = np.array([number[name] for name in manifest.label.categories], np.int64)
    in_part = max(1, PART_BYTES // (stored_size * stored_size * channels))
    workers = 1 if int(manifest.size.sum()) < FEW_BYTES else params.workers
    ranges = measured(raw, manifest, rows.get("train", np.zeros(0, np.int64)), workers)

    # Processes of one machine may write a file together, machines may not.
    step = in_part if on_ray() else max(1, CHUNK_BYTES // (size * size * channels))

    def tasks() -> Iterator[_Task]:
        for name, found in rows.items():
            for number, part in enumerate(_pieces(found, in_part)):
                path = folder / (
                    f"{name}-{number:05d}.npy" if len(found) > in_part else f"{name}.npy"
                )
                path.touch()
                shape = (len(part), size, size, channels)
                for at, few in enumerate(_pieces(part, step)):
                    yield _Task(
                        raw, manifest.places(few), path, shape, at * step, params.how, ranges,
                        name == "train",
                    )  # fmt: skip

    for name, found in rows.items():
        if name != "unlabelled":
            np.save(folder / f"{name}_labels.npy", label[manifest.label.codes[found]])
    results: Iterator[tuple[int, Int64Array]]
    if params.storage == "encoded":
        how = Encoding(
            raw, folder, stored_size, params.encoded_quality, size, channels, params.how, ranges
        )
        results = write_encoded(how, manifest, rows, in_part, workers)
    else:
        results = ordered_map(_work, tasks(), workers)
    histogram = np.zeros((channels, 256), np.int64)
    with tqdm(
        total=sum(map(len, rows.values())), desc="preprocess", unit=" images", disable=None
    ) as bar:
        for count, values in results:
            histogram += values
            bar.update(count)
    mean, std = _moments(histogram) if params.normalize == "standardize" else _unit(channels)

    order = np.concatenate(list(rows.values()))
    index = {
        "id": manifest.id[order],
        "split": splits[order],
        "row": np.concatenate([np.arange(len(found)) for found in rows.values()]),
        "label": manifest.label[order],
        "width": manifest.width[order],
        "height": manifest.height[order],
    }
    with row_writer(folder / "index.csv", list(index)) as write:
        write(zip(*index.values(), strict=True))
    meta: dict[str, Any] = {
        "classes": list(classes),
        "channels": channels,
        "image_size": size,
        "resize": described(params.how),
        "normalize": params.normalize,
        "mean": mean,
        "std": std,
        "counts": {name: len(found) for name, found in rows.items()},
    }
    if ranges:
        meta["value_range"] = ranges
    if params.storage == "encoded":
        quality = params.encoded_quality
        meta["encoded"] = {"size": stored_size, "quality": quality, "rows_in_part": in_part}
    write_json(folder / "meta.json", meta)
    return PreparedData.open(folder)


def working_size(given: int | Literal["auto"], size: int, resize: Resize = SQUASH) -> int:
    """The shorter side, in pixels, of what ``storage: encoded`` keeps for an image size."""
    least = resize.scaled_size(size)
    shorter = max(least, round(size * ENCODED_SCALE)) if given == "auto" else given
    if shorter < least:
        needed = "preprocess.image_size" + (" by crop_fraction" if least > size else "")
        raise UserError(
            f"preprocess.encoded_size: {shorter} pixels are fewer than {needed} ({least}): set it"
            f" to {least} or more, or to auto."
        )
    return shorter


@dataclass(frozen=True)
class _Task:
    """Images to decode, and their place in the file of an array."""

    raw: Path
    places: list[tuple[str, str, int, int]]  # id, shard, offset, size
    path: Path
    shape: tuple[int, int, int, int]  # of the array in the file
    first: int  # row in the file
    resize: Resize
    ranges: Ranges
    count: bool


def _work(task: _Task) -> tuple[int, Int64Array]:
    """Write the pixels of a task.

    Returns:
        The number of images, and [channels, 256] how often each value occurs.
    """
    _, size, _, channels = task.shape
    histogram = np.zeros((channels, 256), np.int64)
    header = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": task.shape}
    write_array_header_1_0(header, facts)
    # Written, not mapped: pages of a shared mapping would count as this process's memory.
    with task.path.open("r+b") as file:
        if task.first == 0:
            file.write(header.getvalue())
        file.seek(len(header.getvalue()) + task.first * size * size * channels)
        for places in _pieces(task.places, max(1, CHUNK_BYTES // (size * size * channels))):
            pixels = _decoded(places, task)
            file.write(pixels.data)
            if task.count:
                histogram += counted(pixels)
    return len(task.places), histogram


def _decoded(places: Sequence[tuple[str, str, int, int]], task: _Task) -> UInt8Array:
    _, size, _, channels = task.shape
    pixels = np.empty((len(places), size, size, channels), np.uint8)
    for row, (name, shard, offset, length) in enumerate(places):
        try:
            data = read_bytes(task.raw, shard, offset, length)
            image = decode(data, task.ranges, enough=task.resize.enough(size))
            pixels[row] = to_array(image, size, channels, task.resize)
        except (ValueError, OSError) as error:
            raise undecodable(name, error) from None
    return pixels


def _pieces(whole: Any, size: int) -> Iterator[Any]:
    """What can be sliced, in pieces of ``size`` and a last one of the rest."""
    return (whole[start : start + size] for start in range(0, len(whole), size))


def _moments(histogram: Int64Array) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel on the 0..1 scale, from exact integer sums."""
    values = range(256)
    mean, std = [], []
    for counts in histogram.tolist():
        n = sum(counts)
        total = sum(v * c for v, c in zip(values, counts, strict=True))
        squares = sum(v * v * c for v, c in zip(values, counts, strict=True))
        mean.append(total / n / 255)
        variance = (n * squares - total * total) / (n * n)
        # A channel that never varies is left unscaled rather than divided by zero.
        std.append(variance**0.5 / 255 or 1.0)
    return mean, std


def _unit(channels: int) -> tuple[list[float], list[float]]:
    return [0.0] * channels, [1.0] * channels
