"""Classes for any number of images, in constant memory and on all cores.

Each core takes a batch of files, decodes them, and runs the network on them, so that none ever
waits for another, whether decoding or computing is what takes long. Threads are enough: Pillow,
torch and ONNX Runtime all let go of Python's lock while they work.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from classifier.core.engine import cores
from classifier.core.resize import to_array
from classifier.core.types import Float32Array, UInt8Array
from classifier.core.wording import warn
from classifier.images.decode import decode
from classifier.inference.inputs import InputImage
from classifier.inference.predictor import Predictor
from classifier.models.decision import Decision, Verdict
from classifier.models.spec import ModelSpec
from classifier.sources.source_index import read

BATCH = 32  # images, at most, that one thread decodes and then shows to the network together
BATCH_BYTES = 2 << 20  # of files; fewer large photographs make a batch, so that all cores get some
MULTIPLE = 8  # images: kernels round otherwise for a batch's last few rows than for whole blocks
BLOCKS = 8  # of 16 MB that Pillow keeps for each thread: a 12-megapixel photograph twice
AHEAD = 2  # batches under way or finished for each thread: none idles, and memory stays bounded


Ask = Callable[[UInt8Array], Float32Array]


class Answer(NamedTuple):
    """An image with its pixels, uint8 [S, S, C], and what the predictor's ``scored`` says of it,
    [K + 1]; or neither and ``problem``, the reason why it was skipped."""

    image: InputImage
    pixels: UInt8Array | None
    scored: Float32Array | None
    problem: str = ""

    @property
    def probabilities(self) -> Float32Array | None:
        """Of each class, [K]."""
        return None if self.scored is None else self.scored[:-1]

    def decided(self, decision: Decision | None, classes: Sequence[str]) -> Verdict:
        """What is said of an image that was not skipped; the most probable class by default."""
        assert self.scored is not None
        return (decision or Decision()).verdict(self.scored, classes)


def predict(
    predictor: Predictor, images: Iterable[InputImage], workers: int = 0
) -> Iterator[Answer]:
    """Yield an answer for each image, in order: `each`, with what the predictor scores."""
    for image, pixels, found in each(predictor.scored, predictor.spec, images, workers):
        if isinstance(found, str):
            yield Answer(image, None, None, found)
        else:
            yield Answer(image, pixels, found)


def each(
    ask: Ask, spec: ModelSpec, images: Iterable[InputImage], workers: int = 0
) -> Iterator[tuple[InputImage, UInt8Array | None, Float32Array | str]]:
    """Yield each image, in order, with its pixels and what ``ask`` makes of them, or why not.

    Args:
        ask: makes [N, D] of [N, S, S, C]; called by several threads; each call should take one
            core.
        spec: of the model, which says how images become pixels.
        images: any number of them.
        workers: threads; 0: one a core.
    """
    workers = workers or cores()
    # Pillow hands every image's memory back to the system, and getting it anew, page by page,
    # takes as long as decoding: 1.7 times as many photographs a second were measured without.
    Image.core.set_blocks_max(BLOCKS * workers)
    under_way: deque[Future[list[tuple[InputImage, UInt8Array | None, Float32Array | str]]]]
    under_way = deque()
    with ThreadPoolExecutor(workers, "predict") as pool:
        try:
            for batch in _batches(images):
                under_way.append(pool.submit(_asked, ask, spec, batch))
                if len(under_way) >= workers * AHEAD:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _batches(images: Iterable[InputImage]) -> Iterator[list[InputImage]]:
    batch: list[InputImage] = []
    size = 0
    for image in images:
        batch.append(image)
        with suppress(OSError):  # what is wrong with a file is said when it is read
            size += Path(image.path).stat().st_size
        if len(batch) == BATCH or (size >= BATCH_BYTES and len(batch) % MULTIPLE == 0):
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _asked(
    ask: Ask, spec: ModelSpec, images: list[InputImage]
) -> list[tuple[InputImage, UInt8Array | None, Float32Array | str]]:
    with ThreadPoolExecutor(cores(), "decode") as threads:
        found = list(threads.map(partial(_decoded, spec=spec), images))
    pixels = [one for one in found if not isinstance(one, str)]
    # Whole blocks alone, so that no answer depends on which images were asked for with it.
    block = pixels + pixels[-1:] * (-len(pixels) % MULTIPLE)
    said = iter(ask(np.stack(block)) if block else ())
    return [
        (image, None, one) if isinstance(one, str) else (image, one, next(said))
        for image, one in zip(images, found, strict=True)
    ]


def _decoded(asked: InputImage, spec: ModelSpec) -> UInt8Array | str:
    """The pixels that the network sees, [S, S, C], or why there are none."""
    if asked.problem:
        return asked.problem
    said: list[str] = []
    enough = spec.resize.enough(spec.image_size)
    try:
        image = decode(read(Path(asked.path)), spec.value_range, said=said, enough=enough)
        for remark in said:
            warn(f"{asked.name}: Pillow says: {remark}")
        return to_array(image, spec.image_size, spec.channels, spec.resize)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except ValueError as error:
        return str(error)
