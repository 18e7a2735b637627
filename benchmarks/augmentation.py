"""Images augmented per second: this project, torchvision's transforms in workers, and kornia.

    python -m benchmarks.augmentation

All do the set that is usual for CIFAR-10 (a random flip and a shift of up to four pixels with
reflected edges, then the same with a cutout square) to the same 20,000 decoded uint8 images of
32×32 in memory, and deliver float batches of 512, not yet standardized, to this process.
torchvision works on one image at a time in a DataLoader with one worker a core; kornia works on
batches like this project and is measured only where it is installed (`pip install kornia`).
"""

import importlib
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch
from torch.utils.data import DataLoader, Dataset

from classifier.augment.augmenter import Augmenter, AugmentParams
from classifier.augment.draws import Draws
from classifier.models.buffers import keep_large_buffers

IMAGES, SIZE, BATCH, REPEATS = 20_000, 32, 512, 9
SHIFT = 4
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Epoch = Callable[[], Iterator[torch.Tensor]]


def ours(images: torch.Tensor, cutout: bool) -> Epoch:
    """Batches of uint8 [N,H,W,C] to float [N,C,H,W], then this project's augmentation."""
    params = AugmentParams(
        horizontal_flip="random", shift=SHIFT / SIZE, cutout=0.25 if cutout else 0.0
    )
    augmenter = Augmenter(params, SIZE, 3, fill=[0.5, 0.5, 0.5])
    draws = Draws(torch.Generator().manual_seed(0))

    def epoch() -> Iterator[torch.Tensor]:
        for batch in images.split(BATCH):
            yield augmenter(batch.permute(0, 3, 1, 2) / 255, draws)

    return epoch


class OneByOne(Dataset[torch.Tensor]):
    """torchvision's transforms, one image at a time."""

    def __init__(self, images: torch.Tensor, cutout: bool) -> None:
        from torchvision.transforms import v2

        self.images = images.permute(0, 3, 1, 2).contiguous()
        steps = [
            v2.RandomHorizontalFlip(),
            v2.RandomCrop(SIZE, padding=SHIFT, padding_mode="reflect"),
            v2.ToDtype(torch.float32, scale=True),
        ]
        if cutout:  # the nearest that torchvision has: a square of the same area, always
            steps.append(v2.RandomErasing(p=1.0, scale=(1 / 16, 1 / 16), ratio=(1.0, 1.0)))
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(self.images[index])


def torchvision_workers(images: torch.Tensor, cutout: bool) -> Epoch:
    """The usual way: workers, which stay alive so that their start is not counted."""
    data = OneByOne(images, cutout)
    loader = DataLoader(data, BATCH, num_workers=CORES, persistent_workers=True)
    return lambda: iter(loader)


def kornia_batches(images: torch.Tensor, cutout: bool) -> Epoch:
    """kornia's batched augmentation, from the same uint8 batches."""
    kornia = importlib.import_module("kornia.augmentation")

    steps = [
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.RandomCrop((SIZE, SIZE), padding=SHIFT, padding_mode="reflect", p=1.0),
    ]
    if cutout:
        area = (1 / 16, 1 / 16)
        steps.append(kornia.RandomErasing(p=1.0, scale=area, ratio=(1.0, 1.0), value=0.5))
    augment = kornia.AugmentationSequential(*steps)

    def epoch() -> Iterator[torch.Tensor]:
        for batch in images.split(BATCH):
            yield augment((batch.permute(0, 3, 1, 2) / 255).contiguous())

    return epoch


def seconds(epoch: Epoch) -> float:
    """The time of one pass over all images."""
    started = time.perf_counter()
    delivered = sum(len(batch) for batch in epoch())
    taken = time.perf_counter() - started
    if delivered != IMAGES:
        raise RuntimeError(f"{delivered} images came back instead of {IMAGES}")
    return taken


def main() -> None:
    keep_large_buffers()  # as a training run does; all three gain from it
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, SIZE, SIZE, 3)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    ways = {
        "this project, batches": ours,
        f"torchvision v2, one by one, {CORES} workers": torchvision_workers,
    }
    packages = ["torch", "torchvision"]
    if importlib.util.find_spec("kornia"):
        ways["kornia, batches"] = kornia_batches
        packages.append("kornia")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"Python {platform.python_version()}, {versions}; {CORES} cores, ", end="")
    print(f"{torch.get_num_threads()} threads; median of {REPEATS} passes (slowest, fastest)\n")
    print("| Images per second | flip + shift | flip + shift + cutout |")
    print("| --- | --- | --- |")
    sets = (False, True)
    runs = {(name, cutout): way(images, cutout) for name, way in ways.items() for cutout in sets}
    for epoch in runs.values():
        seconds(epoch)  # warms up memory and starts the workers
    times: dict[tuple[str, bool], list[float]] = {run: [] for run in runs}
    for _ in range(REPEATS):  # in turns, so that a slow moment of the machine strikes all alike
        for run, epoch in runs.items():
            times[run].append(seconds(epoch))
    for name in ways:
        cells = []
        for cutout in sets:
            rates = sorted(IMAGES / taken for taken in times[name, cutout])
            cells.append(f"{statistics.median(rates):,.0f} ({rates[0]:,.0f}–{rates[-1]:,.0f})")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
