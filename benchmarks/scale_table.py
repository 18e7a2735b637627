"""What sets of three sizes take in each stage, computed from measured costs: docs/scale.md's table.

    python -m benchmarks.scale_table [--write]    print the table, or write it into the page
    python -m benchmarks.scale_table --measure    what an image costs on this machine

Every figure is a fixed part and a cost of each image, times the images; nothing else is in it. Time
is that of the cores, which other work on the machine changes little: divide it by the cores that
share a stage.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classifier.core.resize import Resize

PAGE = Path(__file__).resolve().parent.parent / "docs/scale.md"
BEGIN, END = "<!-- begin: python -m benchmarks.scale_table --write -->\n", "<!-- end -->\n"


@dataclass(frozen=True)
class Kind:
    """What one image of a kind takes: milliseconds of one core, and bytes.

    The times are those of `measure` on an AMD EPYC (family 26, model 2) at load 24 to 33, the
    lowest of its turns; the memory of a batch is the growth of a process's peak between batches of
    8 and 16 images (look) and of 4 and 8 (step).
    """

    name: str
    file: int  # bytes, encoded
    side: int  # pixels, of the prepared image
    download: float
    preprocess: float
    quality: float  # what plot measures of every image
    network: str
    parameters: int
    width: int  # values of an embedding
    step: float  # forward and backward
    look: float  # forward
    step_bytes: int
    look_bytes: int


SMALL = Kind(
    "32×32", 1_006, 32, 0.149, 0.089, 0.025, "`cnn`", 357_034, 128, 0.490, 0.152, 0, 0
)  # fmt: skip
PHOTO = Kind(
    "500×375, to 224", 109_720, 224, 2.307, 2.365, 1.126, "`resnet`, depth 50", 25_557_032, 2048,
    149.8, 43.8, 107_000_000, 19_000_000,
)  # fmt: skip


@dataclass(frozen=True)
class Set:
    """A data set: how many images of a kind, and how many of them are in val and test."""

    kind: Kind
    images: int
    classes: int
    val: int
    test: int

    @property
    def train(self) -> int:
        """Images that training sees in an epoch."""
        return self.images - self.val - self.test

    @property
    def judged(self) -> int:
        """Images that evaluate shows to the network: val, test and evaluate.train_images."""
        return self.val + self.test + 5000


SETS = (
    Set(SMALL, 60_000, 10, 5_000, 10_000),
    Set(PHOTO, 1_281_167, 1000, 50_000, 50_000),
    Set(PHOTO, 14_000_000, 1000, 50_000, 50_000),
)


class Taken(NamedTuple):
    """Seconds of cores, bytes of memory at the peak, bytes of disk that stay."""

    seconds: float
    memory: float
    disk: float


# The fixed part and the growth of memory and disk are those of benchmarks/scale.md, from 100,000 to
# 300,000 images, where nothing else is said.
BATCH = 128  # train.batch_size
LOOKED = 64 * 2**20 // 4  # values that evaluate shows to the network together (models/forward.py)


def download(data: Set) -> Taken:
    """Decode, hash and pack."""
    tar = 512 + 256  # header and padding of a file in a shard
    row = 155  # of the manifest
    disk = data.images * (data.kind.file + tar + row)
    return Taken(data.images * data.kind.download / 1e3, 189e6 + 880 * data.images, disk)


def split(data: Set) -> Taken:
    """Rows by themselves, and near-duplicates, whose time grows with the power 1.35.

    Memory goes through 315 MB for 300,000 and 712 MB for 1.28 million rows.
    """
    seconds = 1e-5 * data.images + 14.6 * (data.images / 1.28e6) ** 1.35
    return Taken(seconds, 193e6 + 405 * data.images, 27 * data.images)


def preprocess(data: Set) -> Taken:
    """Decode, resize and write arrays."""
    disk = data.images * (3 * data.kind.side**2 + 55)
    return Taken(data.images * data.kind.preprocess / 1e3, 250e6 + 420 * data.images, disk)


def encoded(data: Set) -> Taken | None:
    """The same with preprocess.storage: encoded, for photographs: benchmarks/encoded.md."""
    if data.kind is SMALL:
        return None
    arrays = preprocess(data)
    seconds = arrays.seconds + data.images * 0.95 / 1e3  # JPEG at quality 90
    return arrays._replace(seconds=seconds, disk=data.images * 28_114)


def train(data: Set) -> Taken:
    """One epoch, images streamed; the memory of batches comes on top, the arrays may."""
    memory = 1.2e9 + BATCH * data.kind.step_bytes + 16 * data.kind.parameters
    return Taken(data.train * data.kind.step / 1e3, memory, 4 * data.kind.parameters)


def evaluate(data: Set) -> Taken:
    """The network, statistics (23 s for 33,000 images of 1,000 classes), logits and embeddings."""
    many = data.classes > 100
    statistics = 0.70 if many else 0.06
    logits = data.judged * data.classes * (2 if many else 4)
    embedded = [min(count, 2**28 // (4 * data.kind.width)) for count in (data.val, data.test, 5000)]
    embeddings = sum(embedded) * data.kind.width * 2
    together = min(256, LOOKED // (3 * data.kind.side**2))
    memory = (1.6e9 if many else 1.1e9) + together * data.kind.look_bytes
    memory += logits + embeddings + 92 * data.images  # ids and sizes of all images
    seconds = data.judged * (data.kind.look + statistics) / 1e3
    return Taken(seconds, memory, logits + embeddings + 150 * data.judged)


def plot(data: Set) -> Taken:
    """Figures, and the quality of every image; memory is that of 2,500 photographs and the ids."""
    fixed = 13 if data.classes > 100 else 8
    memory = 672e6 + 172 * data.images
    return Taken(fixed + data.images * data.kind.quality / 1e3, memory, 13e6)


STAGES: dict[str, Callable[[Set], Taken | None]] = {
    "download": download,
    "split": split,
    "preprocess": preprocess,
    "preprocess, `storage: encoded`": encoded,
    "train, an epoch on CPUs": train,
    "evaluate": evaluate,
    "plot": plot,
}


def table() -> str:
    """The table of the page, in Markdown."""
    heads = [f"{data.images:,} of {data.kind.name}" for data in SETS]
    lines = [
        f"| core time, memory, disk | {' | '.join(heads)} |",
        "|---" * (len(SETS) + 1) + "|",
    ]
    for name, stage in STAGES.items():
        lines.append(f"| {name} | {' | '.join(_cell(stage(data)) for data in SETS)} |")
    return "\n".join(lines) + "\n"


def _cell(taken: Taken | None) -> str:
    if taken is None:
        return "–"
    seconds = taken.seconds
    for unit, size in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size or unit == "s":
            return f"{_digits(seconds / size)} {unit}, {_bytes(taken.memory)}, {_bytes(taken.disk)}"
    raise AssertionError


def _bytes(number: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if number >= 0.1 * size:
            return f"{_digits(number / size)} {unit}"
    return f"{_digits(number / 1e6)} MB"


def _digits(value: float) -> str:
    """Two digits: no measurement behind the table is better."""
    return f"{float(f'{value:.2g}'):,g}"


def page() -> str:
    """docs/scale.md with the table that follows from the costs."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def measure() -> None:
    """Print what an image of each kind takes on one core, three times."""
    import torch

    from benchmarks.scale import PHOTO as PHOTO_SIZE
    from benchmarks.scale import _image
    from classifier.models.buffers import keep_large_buffers
    from classifier.models.registry import build
    from classifier.preprocessing import prepare
    from classifier.report.image_quality import image_quality
    from classifier.sources import ingest
    from classifier.sources.source_index import Encoded, Item

    keep_large_buffers()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    for kind, size, count in ((SMALL, (32, 32), 3000), (PHOTO, PHOTO_SIZE, 120)):
        files = [_image(row, random, size) for row in range(count)]
        items = [Item(f"{n}", "", "", "", Encoded(data, "a.jpg")) for n, data in enumerate(files)]
        print(f"{kind.name}: {np.mean([len(data) for data in files]):,.0f} bytes")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            piece = ingest._Piece(folder / "shard.tar", items)
            rows = ingest._take(piece).records
            places = [(row.id, row.shard, row.offset, row.size) for row in rows]
            shape = (count, kind.side, kind.side, 3)
            task = prepare._Task(
                folder, places, folder / "a.npy", shape, 0, Resize(), {}, count=True
            )
            task.path.touch()
            prepare._work(task)
            pixels = np.load(task.path)
            _print("download", count, lambda piece=piece: ingest._take(piece))
            _print("preprocess", count, lambda task=task: prepare._work(task))
            sizes = np.full((count, 2), size)
            _print("quality", count, lambda x=pixels, sizes=sizes: image_quality(x, sizes))
        name, settings = ("cnn", {}) if kind is SMALL else ("resnet", {"depth": 50})
        batch = 128 if kind is SMALL else 16
        network = build(name, settings, classes=1000, channels=3, image_size=kind.side)
        images = torch.randn(batch, 3, kind.side, kind.side)
        network, images = (one.to(memory_format=torch.channels_last) for one in (network, images))
        for step in (True, False):

            def work(step: bool = step, network=network, images=images) -> None:  # type: ignore[no-untyped-def]
                network.train(step)
                with torch.set_grad_enabled(step):
                    found = network(images)
                    if step:
                        found.logsumexp(1).sum().backward()

            _print("step" if step else "look", batch, work)


def _print(name: str, count: int, work: Callable[[], object]) -> None:
    def turns() -> Iterator[float]:
        work()
        for _ in range(3):
            started = time.process_time()
            work()
            yield (time.process_time() - started) / count * 1e3

    print(f"  {name}: {', '.join(f'{each:.3f}' for each in turns())} ms", flush=True)


def main() -> None:
    if "--measure" in sys.argv[1:]:
        measure()
    elif "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(table())


if __name__ == "__main__":
    main()
