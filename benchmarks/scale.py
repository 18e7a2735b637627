"""A made-up set of hundreds of thousands of images through every stage, in little memory.

    python -m benchmarks.scale [NUMBER …] [--classes K] [--side PIXELS | --photos] [--limit GB]
        [-S key=value …]

The sets have 30,000, 100,000 and 300,000 images by default, JPEG of 64×64 in 100 classes: smooth
noise, and on it a disc whose place and color are the class's. With ``--photos`` they are 500×375
and 110 kB, as ImageNet's are on average, with a camera's noise, which costs a decoder what
photographs do. Each is one tar file of class folders. Training is one epoch of a small `mlp`.
Memory is measured as in `benchmarks.growth`. Time is of the wall's clock and of the cores' (all
processes of the stage): the second stays true on a machine that has other work. Disk is what the
stage leaves behind. The last column is how the cores' time grew from the set before the last to the
last, divided by how the set did: 1 is linear.
"""

import argparse
import contextlib
import io
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.growth import measure
from benchmarks.machine import control_group, machine
from benchmarks.overhead import STAGES, clone

DEFAULT_SIZE, PHOTO = (64, 64), (500, 375)  # width and height, pixels
SETTINGS = [
    "download.source=archive",
    "model.name=mlp",
    "model.mlp.hidden=[64]",
    "train.epochs=1",
]
WRITTEN = {
    "download": ["data/raw"],
    "split": ["data/splits"],
    "preprocess": ["data/prepared"],
    "train": ["models"],
    "evaluate": ["data/predictions", "data/explain"],
    "plot": ["metrics"],
}


def make(path: Path, number: int, classes: int, size: tuple[int, int] = DEFAULT_SIZE) -> None:
    """Write a tar file of ``number`` images, the same ones each time."""
    random = np.random.default_rng(0)
    with tarfile.open(path, "w") as archive:
        for row in range(number):
            label = row % classes
            data = _image(label, random, size)
            member = tarfile.TarInfo(f"class{label:03d}/{row:07d}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _image(label: int, random: np.random.Generator, size: tuple[int, int]) -> bytes:
    coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)
    places = zip((label % 10, label // 10 % 10), size, strict=True)
    column, row = ((place * 5 + random.integers(4, 12)) * side // 64 for place, side in places)
    color = (label * 53 % 256, label * 101 % 256, label * 197 % 256)
    reach = size[0] // 16
    disc = (column - reach, row - reach, column + reach, row + reach)
    ImageDraw.Draw(image).ellipse(disc, color)
    if size == PHOTO:
        noise = random.normal(0, 12, (size[1], size[0], 1))
        image = Image.fromarray(np.clip(image + noise, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=95 if size == PHOTO else 85)
    return buffer.getvalue()


def _megabytes(place: Path, stage: str) -> float:
    files = [file for name in WRITTEN[stage] for file in (place / name).rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("numbers", type=int, nargs="*", default=[30_000, 100_000, 300_000])
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--photos", action="store_true")
    parser.add_argument("--limit", type=float, help="gigabytes that a stage may take")
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's")
    parser.add_argument("-S", dest="changes", action="append", default=[], metavar="key=value")
    args = parser.parse_args()
    cells: dict[str, list[str]] = {stage: [] for stage in STAGES}
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    print(machine(), flush=True)
    for number in args.numbers:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(dir=args.folder))
            group = args.limit and stack.enter_context(control_group(int(args.limit * 2**30)))
            images = Path(temporary, "images.tar")
            make(images, number, args.classes, PHOTO if args.photos else (args.side, args.side))
            print(f"{number:,} images, {images.stat().st_size / 1e6:,.0f} MB", flush=True)
            changes = [*SETTINGS, f"download.path={images}", *args.changes]
            place = clone(Path(temporary, "project"), changes)
            for stage in STAGES:
                taken, worked, peak = measure(place, stage, group)
                times[stage].append(worked)
                disk = _megabytes(place, stage)
                cell = f"{taken:.0f} s, {worked:.0f} s, {peak:,.0f} MB, {disk:,.0f} MB"
                cells[stage].append(cell)
                print(f"{stage}: {cell}", flush=True)
    sets = " | ".join(f"{number:,} images" for number in args.numbers)
    print(f"\n| stage: time, time of the cores, memory, disk | {sets} | growth |")
    print("|---" * (len(args.numbers) + 2) + "|")
    for stage, row in cells.items():
        growth = ""
        if len(args.numbers) > 1:
            before, last = times[stage][-2:]
            growth = f"{last / before / (args.numbers[-1] / args.numbers[-2]):.2f}"
        print(f"| {stage} | {' | '.join(row)} | {growth} |")


if __name__ == "__main__":
    main()
