"""Time and peak memory of each stage as the set grows.

    python -m benchmarks.growth FOLDER [NUMBER …]

FOLDER has train/CLASS/* and test/CLASS/*; the sets are the first pictures of each class, NUMBER in
all (1000, 10000 and all of them by default), linked, not copied. Training is one epoch of the
default network. Memory is the largest sum, over a stage's processes, of their proportional set
size (shared pages count once), looked at ten times a second.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.overhead import STAGES, clone
from classifier.timings import machine

SHARES = {"train": 5 / 6, "test": 1 / 6}


def subset(source: Path, number: int, target: Path) -> None:
    """The first pictures of each class, ``number`` in all, as links."""
    for split, share in SHARES.items():
        classes = sorted(path for path in (source / split).iterdir() if path.is_dir())
        for folder in classes:
            (target / split / folder.name).mkdir(parents=True)
            few = sorted(folder.iterdir())[: round(number * share / len(classes))]
            for file in few:
                (target / split / folder.name / file.name).symlink_to(file)


def measure(folder: Path, stage: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a stage."""
    started, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0.0
        with contextlib.suppress(psutil.Error):
            for one in [watched, *watched.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += one.memory_full_info().pss
        peak = max(peak, total / 1e6)
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"error: {stage} failed in {folder}")
    return time.perf_counter() - started, peak


def main() -> None:
    source = Path(sys.argv[1]).resolve()
    numbers = [int(number) for number in sys.argv[2:]] or [1000, 10_000, 60_000]
    cells: dict[str, list[str]] = {stage: [] for stage in STAGES}
    with tempfile.TemporaryDirectory() as temporary:
        for number in numbers:
            pictures = Path(temporary, f"pictures{number}")
            subset(source, number, pictures)
            changes = ["download.source=folder", f"download.path={pictures}", "train.epochs=1"]
            place = clone(Path(temporary, f"project{number}"), changes)
            for stage in STAGES:
                taken, peak = measure(place, stage)
                cells[stage].append(f"{taken:.1f} s, {peak:,.0f} MB")
    print(f"{machine()}\n")
    print(f"| stage | {' | '.join(f'{number:,} pictures' for number in numbers)} |")
    print("|---" * (len(numbers) + 1) + "|")
    for stage, row in cells.items():
        print(f"| {stage} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
