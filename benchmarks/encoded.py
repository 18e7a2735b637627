"""Prepared images as arrays and encoded: disk, images a second, and what training makes of them.

    python -m benchmarks.encoded rates FOLDER SIZE
    python -m benchmarks.encoded sizes FOLDER SIZE WORKING_SIZE
    python -m benchmarks.encoded accuracy FOLDER SIZE WORKING_SIZE…

FOLDER has CLASS/*.jpg, photographs. `rates` prepares them both ways for a network that sees
SIZE×SIZE, and reads each in turns. What counts is processor time, of all threads, so that other
work on the machine changes little. `sizes` encodes them in other ways than this project does.
`accuracy` trains a network with random crops on the arrays and
on images that are encoded at each working size, from the same seeds, and asks it about the test
images as they are stored and as `predict` prepares them from the original files.
"""

import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import decode_image

from benchmarks.machine import machine
from benchmarks.overhead import clone, seconds
from classifier.augment.augmenter import AugmentParams
from classifier.core.files import read_json
from classifier.core.params import load
from classifier.core.resize import Resize, resize_in, scaled, to_array
from classifier.core.types import UInt8Array
from classifier.dataset.encoded_images import view
from classifier.dataset.prepared import PreparedData
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits
from classifier.images.store import read_bytes
from classifier.models.buffers import keep_large_buffers
from classifier.models.forward import predict_logits
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams
from classifier.preprocessing.prepare import PreprocessParams, prepare
from classifier.training.batches import Batches
from classifier.training.distributed import Ranks
from classifier.training.loop import train
from classifier.training.params import TrainParams
from classifier.training.session import Session

BATCH, TURNS = 32, 3
SEEDS, EPOCHS = range(3), 14
CNN = ModelParams("cnn", cnn=CnnParams(filters=(16, 32, 64)))
CROPS = AugmentParams(crop=0.5)
PREPARE = PreprocessParams(64, 3, "squash", "standardize", workers=1)
ENCODED = replace(PREPARE, storage="encoded")


def prepared(project: Path, name: str, params: PreprocessParams) -> PreparedData:
    """What `preprocess` makes of the images of a project."""
    manifest = Manifest.read(project / "data/raw")
    splits, manifest = read_splits(project / "data/splits/split.csv", manifest)
    classes = read_json(project / "data/raw/classes.json")
    return prepare(project / "data/raw", manifest, splits, classes, params, project / name)


def originals(project: Path, data: PreparedData, split: str) -> UInt8Array:
    """The images of a split as `predict` prepares them from their files: [N, S, S, C]."""
    manifest = Manifest.read(project / "data/raw")
    row_of = {name: row for row, name in enumerate(manifest.id.tolist())}
    places = manifest.places(np.array([row_of[name] for name in data.ids(split)]))
    size, channels, resize = data.meta["image_size"], data.meta["channels"], resize_in(data.meta)
    whole = (decode(read_bytes(project / "data/raw", *place)) for _, *place in places)
    return np.stack([to_array(image, size, channels, resize) for image in whole])


# --- rates


def session(data: PreparedData, augment: AugmentParams) -> Session:
    """A small network in training, its images streamed."""
    params = replace(load("train", TrainParams), batch_size=BATCH, data_placement="stream")
    return Session(params, CNN, augment, data, Ranks())


def batches(data: PreparedData, crops: bool) -> float:
    """Batches alone, in random order, as training reads them."""
    source = Batches(data.images("train"), data.labels("train"), torch.device("cpu"), "stream")
    rows = torch.randint(len(source.labels), (24 * BATCH,))
    area = torch.tensor([0.6, 1.0, 0.5, 0.5]).expand(BATCH, 4)
    drawn: Callable[[int], Tensor] | None = (lambda number: area) if crops else None
    return _milliseconds(lambda: sum(len(b[0]) for b in source.epoch(rows, BATCH, crops=drawn)))


def steps(data: PreparedData, augment: AugmentParams) -> float:
    """Steps of training, the first one done before."""
    run = session(data, augment)
    endless = (run.step(*item, 1.0) for epoch in range(10**6) for item in run.epoch(epoch))
    next(endless)
    return _milliseconds(lambda: sum(run.batch_size for _ in islice(endless, 6)))


def evaluated(data: PreparedData) -> float:
    """The network's pass over images."""
    run = session(data, AugmentParams())
    images = data.images("train").select(np.random.default_rng(0).integers(0, len(run.labels), 128))
    facts = (run.spec.mean, run.spec.std)
    return _milliseconds(lambda: len(predict_logits(run.network, images, *facts)))


def _milliseconds(work: Callable[[], int]) -> float:
    """Processor time of ``work``, in all threads, for each of the images that it has done."""
    started = time.process_time()
    count = work()
    return 1000 * (time.process_time() - started) / count


def rates(project: Path, size: int) -> None:
    """Print a table of both ways."""
    torch.set_num_threads(1)
    ways = {
        "arrays": replace(PREPARE, image_size=size),
        "encoded": replace(ENCODED, image_size=size),
    }
    sets: dict[str, PreparedData] = {}
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(TURNS):
        for way, params in ways.items():
            name = f"{way}{turn}"

            def preparing(name: str = name, params: PreprocessParams = params) -> int:
                sets[name] = prepared(project, name, params)
                return sum(sets[name].meta["counts"].values())

            taken[way].append(_milliseconds(preparing))
    sets = {way: sets[f"{way}0"] for way in ways}
    print("| | arrays | encoded | ratio |\n|---|---|---|---|")
    disk = [_bytes(data) / sum(data.meta["counts"].values()) for data in sets.values()]
    print(f"| bytes an image on disk | {disk[0]:,.0f} | {disk[1]:,.0f} | {disk[1] / disk[0]:.2f} |")
    _row("preparing", taken)
    measures: dict[str, Callable[[PreparedData], float]] = {
        "batches alone": lambda data: batches(data, crops=False),
        "batches alone, crops": lambda data: batches(data, crops="encoded" in data.meta),
        "training, no augmentation": lambda data: steps(data, AugmentParams()),
        "training, crops": lambda data: steps(data, AugmentParams(crop=0.35)),
        "evaluating": evaluated,
    }
    for name, measure in measures.items():
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(TURNS):
            for way, data in sets.items():
                found[way].append(measure(data))
        _row(name, found)


def _bytes(data: PreparedData) -> int:
    """Of images and their index."""
    files = [*data.folder.glob("*.npy"), *data.folder.glob("*.tar")]
    return sum(file.stat().st_size for file in files if not file.name.endswith("_labels.npy"))


def _row(name: str, found: dict[str, list[float]]) -> None:
    cells = [f"{statistics.median(r):.2f} ({min(r):.2f}–{max(r):.2f})" for r in found.values()]
    ratio = statistics.median(b / a for a, b in zip(*found.values(), strict=True))
    print(f"| {name}, ms an image | {cells[0]} | {cells[1]} | {ratio:.2f} |", flush=True)


# --- sizes


def sizes(folder: Path, size: int, working: int) -> None:
    """Print bytes, difference and processor time of each way to encode photographs."""
    torch.set_num_threads(1)
    images = [decode(path.read_bytes()).convert("RGB") for path in sorted(folder.glob("*/*"))]
    wanted = [to_array(image, size, 3).astype(int) for image in images]
    small = []
    for image in images:
        scale = working / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        small.append(scaled(image, (width, height), None))
    print("| | bytes an image | difference | encoding, ms | decoding, ms | torchvision, ms |")
    print("|---|---|---|---|---|---|")
    ways: dict[str, dict[str, Any]] = {
        f"JPEG {quality}, colors {colors}": {
            "format": "jpeg", "quality": quality, "subsampling": colors, "optimize": True
        }
        for colors in ("4:2:0", "4:4:4")
        for quality in (85, 90, 95)
    }  # fmt: skip
    for name, options in {**ways, "PNG": {"format": "png"}}.items():
        files: list[bytes] = []

        def encoding(files: list[bytes] = files, options: dict[str, Any] = options) -> int:
            for image in small:
                buffer = io.BytesIO()
                image.save(buffer, **options)
                files.append(buffer.getvalue())
            return len(small)

        def decoding(files: list[bytes] = files) -> int:
            return len([np.asarray(Image.open(io.BytesIO(file))) for file in files * 4])

        def torchvision(files: list[bytes] = files) -> int:
            tensors = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
            return len([decode_image(tensor) for tensor in tensors * 4])

        times = [f"{_milliseconds(work):.2f}" for work in (encoding, decoding, torchvision)]
        seen = [view(file, size, 3, Resize()) for file in files]
        difference = np.mean([np.abs(a - b).mean() for a, b in zip(wanted, seen, strict=True)])
        average = statistics.mean(map(len, files))
        print("|", " | ".join([name, f"{average:,.0f}", f"{difference:.2f}", *times]), "|")


# --- accuracy


def accuracy(project: Path, size: int, working: list[int]) -> None:
    ways = {"arrays": replace(PREPARE, image_size=size)}
    ways |= {
        f"encoded, {side}": replace(ENCODED, image_size=size, encoded_size=side) for side in working
    }
    sets = {way: prepared(project, way.replace(" ", ""), params) for way, params in ways.items()}
    first = next(iter(sets.values()))
    labels, files = first.labels("test"), originals(project, first, "test")
    base = load("train", TrainParams)
    stored: dict[str, list[float]] = {way: [] for way in ways}
    predicted: dict[str, list[float]] = {way: [] for way in ways}
    same: dict[str, list[float]] = {way: [] for way in ways}
    for seed in SEEDS:
        for way, data in sets.items():
            params = replace(base, seed=seed, epochs=EPOCHS, batch_size=64)
            trained = train(params, CNN, CROPS, data, say=lambda line: None)
            facts = (trained.spec().mean, trained.spec().std)
            ours, theirs = (
                predict_logits(trained.network, images, *facts).argmax(1)
                for images in (data.images("test"), files)
            )
            stored[way].append(float((ours == labels).mean()))
            predicted[way].append(float((theirs == labels).mean()))
            same[way].append(float((ours == theirs).mean()))
            print(seed, way, stored[way][-1], predicted[way][-1], file=sys.stderr, flush=True)
    print(f"{len(labels)} test images, {len(first.labels('train')):,} to train on\n")
    columns = ("", "bytes an image", "difference from the original, of 255")
    print("|", " | ".join([*columns, "test accuracy", "of the originals", "same class"]), "|")
    print("|---|---|---|---|---|---|")
    for way, data in sets.items():
        size_on_disk = _bytes(data) / sum(data.meta["counts"].values())
        difference = np.abs(data.images("test")[:].astype(int) - files).mean()
        cells = [f"{size_on_disk:,.0f}", f"{difference:.2f}"]
        cells += [
            f"{statistics.mean(found):.4f} ({min(found):.4f}–{max(found):.4f})"
            for found in (stored[way], predicted[way])
        ]
        print("|", " | ".join([way, *cells, f"{statistics.mean(same[way]):.2%}"]), "|")


def main() -> None:
    keep_large_buffers()
    what, folder, size, *working = sys.argv[1:]
    if what == "sizes":
        sizes(Path(folder), int(size), int(working[0]))
        return
    changes = ["download.source=folder", f"download.path={Path(folder).resolve()}"]
    with tempfile.TemporaryDirectory() as temporary:
        project = clone(Path(temporary, "project"), changes)
        for stage in ("download", "split"):
            seconds(project, sys.executable, "-m", f"stages.{stage}")
        print(f"{machine()}; torch {torch.__version__}")
        if what == "rates":
            rates(project, int(size))
        else:
            accuracy(project, int(size), [int(side) for side in working])


if __name__ == "__main__":
    main()
