"""What it costs a rank to augment its rows of a batch, by the number of ranks.

    python -m benchmarks.ranks

One CPU thread, photographs' size of 160×160, batches of 128; processor time, as other work on the
machine counts in seconds. The numbers of ranks take turns, and the table has their medians.
"""

import time
from statistics import median

import torch

from benchmarks.machine import machine
from classifier.augment.augmenter import Augmenter, AugmentParams
from classifier.augment.draws import Draws
from classifier.models.buffers import keep_large_buffers
from classifier.training.distributed import Ranks

SIZE, BATCH, REPEATS = 160, 128, 7
RANKS = (1, 2, 4, 8)
SETTINGS = {
    "flip, crop": AugmentParams(horizontal_flip="random", crop=0.35),
    "flip, crop, TrivialAugment, mixup": AugmentParams(
        horizontal_flip="random", crop=0.35, policy="trivial", mixup=0.2
    ),
    "noise": AugmentParams(noise=0.1),
}


def augment(params: AugmentParams, images: torch.Tensor, size: int) -> float:
    """Milliseconds of processor time in which the last of ``size`` ranks augments its rows."""
    ranks = Ranks()
    ranks.rank, ranks.size = size - 1, size
    augmenter = Augmenter(params, SIZE, 3)
    rows = ranks.rows(BATCH, 1, before=int(augmenter.mixes and size > 1))
    pixels, labels = images[rows], torch.eye(BATCH)[rows]
    started = time.process_time()
    draws = Draws(torch.Generator().manual_seed(0), BATCH, rows)
    augmenter.mix(augmenter(pixels, draws), labels, draws)
    return 1000 * (time.process_time() - started)


def main() -> None:
    keep_large_buffers()
    torch.set_num_threads(1)
    images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    print(f"torch {torch.__version__}; {machine()}; ms of processor time a batch and rank\n")
    print(f"| augmentation, ranks: | {' | '.join(map(str, RANKS))} |")
    print("|---" * (len(RANKS) + 1) + "|")
    for name, params in SETTINGS.items():
        taken = [[augment(params, images, size) for size in RANKS] for _ in range(REPEATS)]
        medians = [median(column) for column in zip(*taken, strict=True)]
        print(f"| {name} | {' | '.join(f'{value:,.0f}' for value in medians)} |")


if __name__ == "__main__":
    main()
