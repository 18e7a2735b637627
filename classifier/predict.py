"""Classes for any number of pictures: decoded in other processes while the network computes.

Nothing here imports torch, since the processes that decode import this module.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from classifier.images import Resize, decode, to_array
from classifier.parallel import ordered_map
from classifier.picture_list import Picture

if TYPE_CHECKING:
    from classifier.inference import Floats, Pictures, Predictor

BATCH = 64  # pictures that one process decodes together and the network then sees together
LARGEST_FILE = 1 << 30  # bytes; more is no picture, and reading it would fill the memory


class Answer(NamedTuple):
    """A picture with its pixels, uint8 [S, S, C], and the probability of each class, [K]; or
    neither and ``problem``, the reason why it was skipped."""

    picture: Picture
    pixels: "Pictures | None"
    probabilities: "Floats | None"
    problem: str = ""


@dataclass(frozen=True)
class _Task:
    pictures: list[Picture]
    size: int
    channels: int
    resize: Resize


class _Decoded(NamedTuple):
    pixels: "Pictures"  # of the pictures that can be read, [n, S, S, C]
    problems: list[str]  # of every picture; "" if it can be read


def predict(
    predictor: "Predictor", pictures: Iterable[Picture], workers: int = 0
) -> Iterator[Answer]:
    """Yield an answer for each picture, in order, in constant memory.

    Args:
        predictor: computes in this process.
        pictures: any number of them.
        workers: processes that decode; 0: one a core.
    """
    spec = predictor.spec
    source = iter(pictures)
    batches = iter(lambda: list(islice(source, BATCH)), [])
    waiting: deque[list[Picture]] = deque()

    def remembered() -> Iterator[_Task]:
        for batch in batches:
            waiting.append(batch)
            yield _Task(batch, spec.image_size, spec.channels, spec.resize)  # type: ignore[arg-type]

    for decoded in ordered_map(_decode, remembered(), workers):
        yield from _answers(predictor, waiting.popleft(), decoded)


def _answers(
    predictor: "Predictor", pictures: list[Picture], decoded: _Decoded
) -> Iterator[Answer]:
    found = predictor.probabilities(decoded.pixels) if len(decoded.pixels) else ()
    rows = iter(zip(decoded.pixels, found, strict=True))
    for picture, problem in zip(pictures, decoded.problems, strict=True):
        if problem:
            yield Answer(picture, None, None, problem)
        else:
            yield Answer(picture, *next(rows))


def _decode(task: _Task) -> _Decoded:
    pixels, problems = [], []
    for picture in task.pictures:
        try:
            image = decode(_read(picture.path), task.size)
            pixels.append(to_array(image, task.size, task.channels, task.resize))
            problems.append("")
        except OSError as error:
            problems.append(f"cannot be read ({error.strerror or error})")
        except ValueError as error:
            problems.append(str(error))
    shape = (0, task.size, task.size, task.channels)
    return _Decoded(np.stack(pixels) if pixels else np.zeros(shape, np.uint8), problems)


def _read(path: str) -> bytes:
    file = Path(path)
    if not file.is_file() and file.exists():
        raise ValueError("not a file")  # a pipe would wait forever
    if file.stat().st_size > LARGEST_FILE:
        raise ValueError("larger than 1 GiB")
    return file.read_bytes()
