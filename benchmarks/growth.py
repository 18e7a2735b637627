"""Time and peak memory of each stage as the set grows.

    python -m benchmarks.growth FOLDER [NUMBER …] [--limit GB] [-S key=value …]

FOLDER has train/CLASS/* and test/CLASS/*; the sets are the first images of each class, NUMBER in
all (1000, 10000 and all of them by default), linked, not copied. Training is one epoch of the
default network. Memory is the largest sum, over a stage's processes, of their proportional set
size (shared pages count once), looked at ten times a second. With a limit each stage runs in a
control group, which Linux kills when it takes more; caches of files count there, and are dropped.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.machine import control_group, machine
from benchmarks.overhead import STAGES, clone

SHARES = {"train": 5 / 6, "test": 1 / 6}


def subset(source: Path, number: int, target: Path) -> None:
    """The first images of each class, ``number`` in all, as links."""
    for split, share in SHARES.items():
        classes = sorted(path for path in (source / split).iterdir() if path.is_dir())
        for folder in classes:
            (target / split / folder.name).mkdir(parents=True)
            few = sorted(folder.iterdir())[: round(number * share / len(classes))]
            for file in few:
                (target / split / folder.name / file.name).symlink_to(file)


def measure(folder: Path, stage: str, group: Path | None) -> tuple[float, float, float]:
    """Seconds, seconds of all cores and peak megabytes of a stage, in a control group if given."""
    started, peak = time.perf_counter(), 0.0
    worked: dict[int, float] = {}
    into = f"echo $$ > {group}/cgroup.procs; " if group else ""
    process = subprocess.Popen(
        ["sh", "-c", f'{into}exec "{sys.executable}" -m stages.{stage}'],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0.0
        with contextlib.suppress(psutil.Error):
            for one in [watched, *watched.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    total += one.memory_full_info().pss
                    worked[one.pid] = sum(one.cpu_times()[:2])
        peak = max(peak, total / 1e6)
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"error: {stage} failed in {folder}")
    return time.perf_counter() - started, sum(worked.values()), peak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", type=int, nargs="*", default=[1000, 10_000, 60_000])
    parser.add_argument("--limit", type=float, help="gigabytes that a stage may take")
    parser.add_argument("-S", dest="changes", action="append", default=[], metavar="key=value")
    args = parser.parse_args()
    cells: dict[str, list[str]] = {stage: [] for stage in STAGES}
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        group = args.limit and stack.enter_context(control_group(int(args.limit * 2**30)))
        for number in args.numbers:
            images = Path(temporary, f"images{number}")
            subset(args.folder.resolve(), number, images)
            changes = ["download.source=folder", f"download.path={images}", "train.epochs=1"]
            place = clone(Path(temporary, f"project{number}"), changes + args.changes)
            for stage in STAGES:
                taken, _, peak = measure(place, stage, group)
                cells[stage].append(f"{taken:.1f} s, {peak:,.0f} MB")
            arrays = sum(file.stat().st_size for file in (place / "data/prepared").iterdir())
            print(f"{number:,} images, prepared arrays of {arrays / 1e6:,.0f} MB")
    print(f"{machine()}\n")
    print(f"| stage | {' | '.join(f'{number:,} images' for number in args.numbers)} |")
    print("|---" * (len(args.numbers) + 1) + "|")
    for stage, row in cells.items():
        print(f"| {stage} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
