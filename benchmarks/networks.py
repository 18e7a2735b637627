"""What each network reaches in two minutes on this machine's cores, on a prepared set of images.

    python -m benchmarks.networks SET PREPARED [NAME …]   measure, and keep it in networks.json
    python -m benchmarks.networks                         write networks.md

PREPARED is the `data/prepared` of a run of the pipeline; SET is what the table calls it. Every
network has its default settings and the same training: AdamW, one cycle, no search for any of them.
A few batches tell how fast the network is; from that follow the epochs that fit into the budget,
each over as many of the images, drawn at random, as makes them fill it. The time is that of the
whole training, validation after each epoch included; test images are scored after.
"""

import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from classifier.augment.augmenter import AugmentParams
from classifier.commands.models import short
from classifier.core.files import read_json, write_json
from classifier.core.types import Int64Array
from classifier.dataset.prepared import PreparedData
from classifier.dataset.stored_images import StoredImages
from classifier.models.buffers import keep_large_buffers
from classifier.models.forward import predict_logits
from classifier.models.registry import NETWORKS, ModelParams
from classifier.training.loop import train
from classifier.training.params import TrainParams
from classifier.training.record import Row

BUDGET = 120.0  # seconds
AIM = 0.95  # of the budget: speed varies a little from minute to minute
PROBE = 12  # batches that tell the speed
RESULTS, PAGE = Path("benchmarks/networks.json"), Path("benchmarks/networks.md")
TRAINING = TrainParams(
    lr=0.002,
    epochs=1,
    batch_size=128,
    optimizer="adamw",
    seed=0,
    weight_decay=0.05,
    schedule="onecycle",
    label_smoothing=0.1,
    gradient_clip_norm=1.0,
)


@dataclass(frozen=True)
class Part(PreparedData):
    """Prepared data of which only some rows of the train and val splits are used."""

    most: Mapping[str, int]

    def _rows(self, split: str) -> Int64Array:
        count = len(super().labels(split))
        kept = np.random.default_rng(0).permutation(count)[: self.most.get(split, count)]
        return np.sort(kept)

    def images(self, split: str) -> StoredImages:
        return super().images(split).select(self._rows(split))

    def labels(self, split: str) -> Int64Array:
        return super().labels(split)[self._rows(split)]


def measure(name: str, prepared: Path) -> dict[str, Any]:
    """Train ``name`` for the budget and score it on the test split."""
    data = PreparedData.open(prepared)
    color = data.meta["channels"] == 3
    augment = AugmentParams(
        shift=0.125,
        horizontal_flip="random" if color else "none",  # a mirrored digit is no digit
        padding="reflect" if color else "zero",
    )
    model = ModelParams(name)

    def run(used: PreparedData, epochs: int) -> tuple[Any, list[float]]:
        ends = [time.perf_counter()]

        def on_epoch(history: list[Row]) -> None:
            ends.append(time.perf_counter())

        params = replace(TRAINING, epochs=epochs)
        trained = train(params, model, augment, used, on_epoch=on_epoch, say=lambda line: None)
        return trained, [*ends, time.perf_counter()]

    sizes = {split: len(data.labels(split)) for split in ("train", "val")}
    few = PROBE * TRAINING.batch_size
    probe = Part(data.folder, data.meta, {"train": few, "val": 1})
    _, ends = run(probe, 2)
    # The first epoch also warms up. Validation is a third of a step: forward without backward.
    a_image = (ends[2] - ends[1]) / min(few, sizes["train"])
    seconds = BUDGET * AIM - (ends[1] - ends[0])
    # After the last epoch, val passes once more in full precision.
    affordable = seconds / a_image - sizes["val"]
    epochs = math.ceil(affordable / (sizes["train"] + sizes["val"] / 3))
    each = min(sizes["train"], int(affordable / epochs - sizes["val"] / 3))
    used = Part(data.folder, data.meta, {"train": each})
    trained, ends = run(used, epochs)
    took = ends[-1] - ends[0]
    seen = epochs * (len(used.labels("train")) // TRAINING.batch_size) * TRAINING.batch_size
    network, spec = trained.network.eval(), trained.plan
    logits = predict_logits(network, data.images("test"), spec.mean, spec.std)
    return {
        "parameters": trained.summary["parameters"],
        "multiply_adds": trained.summary["multiply_adds"],
        "seconds": took,
        "images": seen,
        "passes": seen / sizes["train"],
        "best_epoch": trained.best_epoch,
        "val_accuracy": trained.metrics()["val_accuracy"],
        "test_accuracy": float((logits.argmax(1) == data.labels("test")).mean()),
        "test_images": len(logits),
    }


def page(results: Mapping[str, Any]) -> str:
    """The tables, one a set, best network first."""
    lines = [
        "# Every network, two minutes",
        "",
        "Default settings, the same training for all (AdamW at 0.002 with weight decay 0.05, one",
        "cycle, batches of 128, label smoothing 0.1, shifts, and flips for color images), tuned",
        "for none of them: this tells what a first try gives on two cores, not which network is",
        "best. Images a second are of the whole training, validation included; passes are over",
        "the train split. One seed; on few test images, neighbors in the table are equals.",
    ]
    for name, rows in results["sets"].items():
        tests = next(iter(rows.values()))["test_images"]
        lines += ["", f"## {name}, {tests:,} test images", ""]
        lines.append(
            "| network | parameters | multiply-adds | images/s | passes | seconds | validation"
            " | test |"
        )
        lines.append("|---|---|---|---|---|---|---|---|")
        for network, row in sorted(rows.items(), key=lambda item: -item[1]["test_accuracy"]):
            passes = f"{row['passes']:,.{0 if row['passes'] >= 10 else 1}f}"
            lines.append(
                f"| `{network}` | {row['parameters']:,} | {short(row['multiply_adds'])} "
                f"| {row['images'] / row['seconds']:,.0f} | {passes} | {row['seconds']:.0f} "
                f"| {row['val_accuracy']:.4f} | {row['test_accuracy']:.4f} |"
            )
    lines += ["", f"{results['machine']}; torch {results['torch']}:", ""]
    lines += ["    python -m benchmarks.networks SET PREPARED"]
    return "\n".join(lines) + "\n"


def main() -> None:
    keep_large_buffers()
    results = read_json(RESULTS) if RESULTS.exists() else {"sets": {}}
    if len(sys.argv) > 2:
        _, title, prepared, *names = sys.argv
        for name in names or NETWORKS:
            rows = results["sets"].setdefault(title, {})
            rows[name] = measure(name, Path(prepared))
            results |= {"machine": machine(), "torch": version("torch")}
            write_json(RESULTS, results)
            print(name, rows[name], flush=True)
    PAGE.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
