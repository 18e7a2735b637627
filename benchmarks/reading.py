"""From class folders of JPEG files to batches: this project, torchvision, Hugging Face datasets.

    python -m benchmarks.reading FOLDER SIZE

FOLDER has CLASS/*.jpg. All deliver standardized float batches of 256 at SIZE×SIZE, in random
order, to this process. torchvision's ImageFolder and Hugging Face's imagefolder decode in a
DataLoader with one worker a core, in every epoch again. This project decodes once (download, split,
preprocess, as processes of their own: its preparation), then gathers batches from memory.
`datasets` is measured only where it is installed (`pip install datasets`).
"""

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.machine import machine
from benchmarks.overhead import clone, seconds
from classifier.dataset.prepared import PreparedData
from classifier.images.parallel import cores
from classifier.models.buffers import keep_large_buffers
from classifier.models.forward import normalize
from classifier.training.batches import Batches

BATCH, REPEATS = 256, 3
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

Epoch = Callable[[], Iterator[torch.Tensor]]


def transforms(size: int) -> Any:
    """torchvision's usual chain for images of any size."""
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((size, size), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def image_folder(folder: Path, size: int) -> Epoch:
    """torchvision's own class for class folders."""
    from torchvision.datasets import ImageFolder

    loader = DataLoader(
        ImageFolder(str(folder), transforms(size)),
        batch_size=BATCH,
        shuffle=True,
        num_workers=cores(),
        persistent_workers=True,
    )
    return lambda: (images for images, _ in loader)


class Chain:
    """A transform that pickles, for Hugging Face's workers."""

    def __init__(self, size: int) -> None:
        self.chain = transforms(size)

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        return {"image": [self.chain(image.convert("RGB")) for image in rows["image"]]}


def hugging_face(folder: Path, size: int) -> Epoch:
    """The imagefolder builder of `datasets`, decoding on access."""
    from datasets import load_dataset  # type: ignore[import-not-found]

    data = load_dataset("imagefolder", data_dir=str(folder), split="train")
    loader = DataLoader(
        data.with_transform(Chain(size)),
        batch_size=BATCH,
        shuffle=True,
        num_workers=cores(),
        persistent_workers=True,
    )
    return lambda: (rows["image"] for rows in loader)


def ours(prepared: Path) -> Epoch:
    """What the training loop does, without augmentation."""
    data = PreparedData.open(prepared)
    batches = Batches(data.images("train"), data.labels("train"), torch.device("cpu"))

    def epoch() -> Iterator[torch.Tensor]:
        order = torch.randperm(len(batches.labels))
        for pixels, _, _ in batches.epoch(order, BATCH):
            yield normalize(pixels, data.meta["mean"], data.meta["std"])

    return epoch


def rate(epoch: Epoch) -> float:
    """Images a second of one pass."""
    started = time.perf_counter()
    delivered = sum(len(batch) for batch in epoch())
    return delivered / (time.perf_counter() - started)


def main() -> None:
    keep_large_buffers()
    folder, size = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    number = sum(1 for _ in folder.glob("*/*.jpg"))
    changes = ["download.source=folder", f"download.path={folder}"]
    changes += [f"preprocess.image_size={size}", "preprocess.channels=3"]
    changes += ["split.test_fraction=0.01", "split.val_fraction=0.01"]  # nearly all to train on
    with tempfile.TemporaryDirectory() as temporary:
        place = clone(Path(temporary, "project"), changes)
        stages = ("download", "split", "preprocess")
        preparing = sum(seconds(place, sys.executable, "-m", f"stages.{s}") for s in stages)
        ways = {"this project": ours(place / "data/prepared")}
        ways["torchvision ImageFolder, DataLoader"] = image_folder(folder, size)
        packages = ["torch", "torchvision", "pillow"]
        if importlib.util.find_spec("datasets"):
            ways["Hugging Face datasets, DataLoader"] = hugging_face(folder, size)
            packages.append("datasets")
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for epoch in ways.values():
            next(iter(epoch()))  # starts the workers
        for _ in range(REPEATS):
            for name, epoch in ways.items():
                rates[name].append(rate(epoch))
    print(f"{number:,} images to {size}×{size}; {machine()};", end=" ")
    print(", ".join(f"{name} {version(name)}" for name in packages))
    print(f"\nPreparation of this project, once: {preparing:.1f} s ({number / preparing:,.0f}/s)\n")
    print("| images a second | median (lowest, highest) | first epoch, preparation included |")
    print("|---|---|---|")
    for name, found in rates.items():
        middle = statistics.median(found)
        first = number / (preparing + number / middle) if name == "this project" else middle
        print(f"| {name} | {middle:,.0f} ({min(found):,.0f}–{max(found):,.0f}) | {first:,.0f} |")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {error}")
