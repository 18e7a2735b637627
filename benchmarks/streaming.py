"""Images a second from a set three times as large as the memory, beside one that is in memory.

    python -m benchmarks.streaming [--limit MB] [--folder FOLDER]

Makes a prepared set of random images of 224×224 in FOLDER, three times the limit in size. Then each
row of the table is a process that measures one thing, twice in turns: with the set in memory
(training has it as a tensor, the others in the kernel's cache of files); and streamed, in a control
group of Linux (version 1 or 2, which takes root) that holds ``limit`` in all, caches of files
included, from a file of which nothing is cached. The network is a small one, in
batches of 16: with a larger one, reading is even less of the time.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap

from benchmarks.machine import control_group, machine
from classifier.augment.augmenter import AugmentParams
from classifier.core.files import write_json
from classifier.core.params import load
from classifier.dataset.prepared import PreparedData
from classifier.evaluation.evaluate import evaluate
from classifier.metrics.scoring import EvaluateParams
from classifier.models.buffers import keep_large_buffers
from classifier.models.forward import predict_logits
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams
from classifier.report.image_quality import image_quality
from classifier.training.batches import Batches
from classifier.training.distributed import Ranks
from classifier.training.params import TrainParams
from classifier.training.session import Session

SIDE, BATCH, VAL = 224, 16, 64
SECONDS = 12.0  # of a measurement that can stop anywhere
TURNS = 3

MODEL = ModelParams("cnn", cnn=CnnParams(filters=(8, 16), dense_units=32))  # small: reading shows

CPU = torch.device("cpu")


def make(folder: Path, count: int) -> None:
    """Prepared data of ``count`` random images, which are the train and the test split alike."""
    random = np.random.default_rng(0)
    for split, number in (("train", count), ("val", VAL)):
        images = open_memmap(folder / f"{split}.npy", "w+", np.uint8, (number, SIDE, SIDE, 3))
        for start in range(0, number, 128):
            part = images[start : start + 128]
            part[:] = random.integers(0, 256, part.shape, np.uint8)
        images.flush()
    os.link(folder / "train.npy", folder / "test.npy")
    counts = {"train": count, "val": VAL, "test": count}
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "split", "row", "label", "width", "height"])
        for split, number in counts.items():
            np.save(folder / f"{split}_labels.npy", np.arange(number) % 10)
            writer.writerows([f"{split}{n}", split, n, n % 10, SIDE, SIDE] for n in range(number))
    facts = {"channels": 3, "image_size": SIDE, "resize": "squash", "normalize": "unit"}
    moments = {"mean": [0.5] * 3, "std": [0.25] * 3}
    classes = [str(number) for number in range(10)]
    write_json(folder / "meta.json", {**facts, **moments, "classes": classes, "counts": counts})


def session(data: PreparedData, placement: str) -> Session:
    """The default training, of batches that are small enough for the limit."""
    params = replace(load("train", TrainParams), batch_size=BATCH, data_placement=placement)  # type: ignore[arg-type]
    return Session(params, MODEL, AugmentParams(shift=0.125), data, Ranks())


def batches_alone(data: PreparedData, placement: str) -> float:
    """Batches in random order that nobody trains on."""
    batches = Batches(data.images("train"), data.labels("train"), CPU, placement)  # type: ignore[arg-type]
    order = torch.randperm(len(batches.labels), generator=torch.Generator().manual_seed(0))
    return _rate(batches.epoch(order, BATCH), len)


def mapped(data: PreparedData, placement: str) -> float:
    """The same from a memory map, for comparison."""
    images = np.load(data.folder / "train.npy", mmap_mode="r")
    order = np.random.default_rng(0).permutation(len(images))
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS and done + 16 <= len(order):
        np.array(images[np.sort(order[done : done + 16])])
        done += 16
    return done / (time.perf_counter() - started)


def train(data: PreparedData, placement: str) -> float:
    """Steps of the training loop."""
    run = session(data, placement)
    return _rate(run.epoch(0), lambda batch: run.step(*batch, 1.0).tolist())


def evaluated(data: PreparedData, placement: str) -> float:
    """All that stage evaluate computes before it writes: logits, metrics, intervals."""
    run = session(data, "stream")
    params = replace(load("evaluate", EvaluateParams), train_images=0, batch_size=BATCH)
    return _whole(data, lambda: evaluate(run.network, run.spec, data, params, CPU))


def predict(data: PreparedData, placement: str) -> float:
    """Logits of a split."""
    run = session(data, "stream")
    images, spec = data.images("test"), run.spec
    return _whole(
        data, lambda: predict_logits(run.network, images, spec.mean, spec.std, CPU, BATCH)
    )


def quality(data: PreparedData, placement: str) -> float:
    """What the report measures of each image."""
    return _whole(data, lambda: image_quality(data.images("test")))


MEASURES: dict[str, Callable[[PreparedData, str], float]] = {
    "batches alone": batches_alone,
    "train": train,
    "evaluate": evaluated,
    "predict": predict,
    "image quality": quality,
    "batches alone, from a memory map": mapped,
}


def _rate(source: Iterator[Any], use: Callable[[Any], object]) -> float:
    use(next(source))  # what is made once
    done, started = 0, time.perf_counter()
    for batch in source:
        use(batch)
        done += BATCH
        if time.perf_counter() - started > SECONDS:
            break
    return done / (time.perf_counter() - started)


def _whole(data: PreparedData, function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return int(data.meta["counts"]["test"]) / (time.perf_counter() - started)


def measure(name: str, folder: Path, streamed: bool) -> float:
    """Images a second in this process, after bringing the file into the kernel's cache, or out."""
    keep_large_buffers()
    data = PreparedData.open(folder)
    with (folder / "train.npy").open("rb", buffering=0) as file:
        if streamed:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            while file.read(1 << 24):
                pass
    return MEASURES[name](data, "stream" if streamed else "resident")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming")
    parser.add_argument("--limit", type=int, default=1024, help="MB of memory (default: 1024)")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: temporary)")
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        name, way = args.measure
        print(measure(name, args.folder, way == "streamed"))
        return
    count = 3 * (args.limit << 20) // (SIDE * SIDE * 3)
    rates: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        make(Path(temporary), count)
        os.sync()
        for name in MEASURES:
            rates[name] = {"resident": [], "streamed": []}
            for _ in range(TURNS):
                for way, found in rates[name].items():
                    limited = way == "streamed"
                    with control_group(args.limit << 20) if limited else nullcontext() as group:
                        into = f"echo $$ > {group}/cgroup.procs; " if group else ""
                        own = [sys.executable, "-m", "benchmarks.streaming", "--measure", name, way]
                        command = ["sh", "-c", f'{into}exec "$@"', "sh", *own, "--folder"]
                        run = subprocess.run(
                            [*command, temporary], stdout=subprocess.PIPE, text=True, check=False
                        )
                    if run.returncode:
                        sys.exit(f"error: {name}, {way}: exit status {run.returncode}")
                    found.append(float(run.stdout.split()[-1]))
            print(name, rates[name], file=sys.stderr, flush=True)
    size = count * SIDE * SIDE * 3 / 2**20
    print(f"{count:,} images of {SIDE}×{SIDE}, {size:,.0f} MB; limit {args.limit:,} MB;", end=" ")
    print(f"{machine()}; torch {torch.__version__}\n")
    print("| images a second | resident | streamed | ratio |\n|---|---|---|---|")
    for name, ways in rates.items():
        resident, streamed = (statistics.median(ways[way]) for way in ("resident", "streamed"))
        cells = [
            f"{statistics.median(r):,.0f} ({min(r):,.0f}–{max(r):,.0f})" for r in ways.values()
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} | {streamed / resident:.2g} |")


if __name__ == "__main__":
    main()
