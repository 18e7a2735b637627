"""Images on their way to the network: uint8 arrays in, standardized float batches out.

Sets that fit live on the device as uint8 and a batch is one gather; larger ones stream from the
memory map, read one step ahead by a thread. There are no worker processes and no work per image
in Python.
"""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from classifier.array_types import Int64Array
from classifier.memory import free_memory
from classifier.models.base import Entry

READ_AHEAD = 2  # batches; more would only cost memory, as one is read faster than it is trained on
RESIDENT_SHARE = 0.5  # of the free memory: the rest is for activations and optimizer state
INPUT_BYTES = (
    64 << 20
)  # of floats that a network is shown at once; its maps take several times that


def to_unit(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 [N,H,W,C] -> float [N,C,H,W] in 0..1, in channels-last memory (the bytes stay put)."""
    return images.permute(0, 3, 1, 2).to(dtype).div_(255)


def standardize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(images - mean) / std by channel; all on the 0..1 scale, images [N,C,H,W]."""
    shift = images.new_tensor(mean).view(1, -1, 1, 1)
    scale = images.new_tensor(std).view(1, -1, 1, 1)
    return (images - shift) / scale


def normalize(
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """uint8 [N,H,W,C] -> standardized float [N,C,H,W] in channels-last memory."""
    return standardize(to_unit(images, dtype), mean, std)


def at_a_time(batch_size: int, shape: Sequence[int]) -> int:
    """How many images of a shape go through a network together: those that INPUT_BYTES hold.

    At most ``batch_size``, and one at least.
    """
    return max(1, min(batch_size, INPUT_BYTES // (4 * math.prod(shape))))


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    images: np.ndarray | Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    device: str | torch.device = "cpu",
    batch_size: int = 512,
    autocast: torch.dtype | None = None,
    rows: Int64Array | None = None,
) -> np.ndarray:
    """Logits float32 [N,K] of uint8 images [N,H,W,C], batch by batch in constant memory.

    Args:
        images: an array, a memory map, or a tensor that already lies on the device.
        batch_size: images that go through the network together, fewer of large ones: `at_a_time`.
        autocast: compute in this type (bfloat16, float16) where torch considers it safe.
        rows: the images to read, in this order; None: all.
    """
    device = torch.device(device)
    was_training = network.training
    network.eval()
    found = []
    count, (height, width, channels) = len(images if rows is None else rows), images.shape[1:]
    seen = max((part.size for part in network.modules() if isinstance(part, Entry)), default=0)
    step = at_a_time(batch_size, (max(height, seen), max(width, seen), channels))
    for start in range(0, count, step):
        chosen = slice(start, start + step)
        part = images[chosen if rows is None else rows[chosen]]
        batch = part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            logits = network(normalize(batch.to(device, non_blocking=True), mean, std))
        found.append(logits.float().cpu())
    network.train(was_training)
    return torch.cat(found).numpy() if found else np.zeros((0, 0), np.float32)


def fits(size: int, device: torch.device) -> bool:
    """Whether ``size`` bytes of images may live on the device beside everything else."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    return size <= RESIDENT_SHARE * free


Batch = tuple[Tensor, Tensor, Tensor]
"""images uint8 [B,H,W,C], labels int64 [B], their rows in the split int64 [B]"""


class Batches:
    """The images and labels of one split, handed out in any order, batch by batch.

    The batches are the same, bit for bit, whether the images are resident or streamed.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        device: torch.device,
        place: Literal["auto", "resident", "stream"] = "auto",
    ) -> None:
        """Take uint8 images [N,H,W,C] and int64 labels [N]; ``auto``: resident if that `fits`."""
        self.device = device
        self.resident = fits(images.nbytes, device) if place == "auto" else place == "resident"
        self.labels = torch.from_numpy(np.asarray(labels, np.int64)).to(device)
        self.waited = 0.0  # seconds spent on getting batches, since the start
        if self.resident:
            self.images = torch.from_numpy(np.array(images)).to(device)
        else:
            self.mapped = images

    def epoch(self, order: Tensor, batch_size: int, first: int = 0) -> Iterator[Batch]:
        """Yield images, labels and rows for each full batch of ``order``, all on the device.

        Args:
            order: rows, int64 on the CPU. What does not fill a batch at its end is left out; the
                next epoch's order brings other rows there.
            first: the batch to begin with, counted from 0.
        """
        rows = [
            order[start : start + batch_size]
            for start in range(first * batch_size, len(order) - batch_size + 1, batch_size)
        ]
        source = self._gathered(rows) if self.resident else self._streamed(rows)
        while True:
            started = time.perf_counter()
            batch = next(source, None)
            self.waited += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _gathered(self, rows: list[Tensor]) -> Iterator[Batch]:
        for chosen in rows:
            where = chosen.to(self.device, non_blocking=True)
            yield self.images[where], self.labels[where], where

    def _streamed(self, rows: list[Tensor]) -> Iterator[Batch]:
        with ThreadPoolExecutor(1, "read-ahead") as reader:
            todo = iter(rows)
            ahead: deque[Future[tuple[Tensor, Tensor]]] = deque()
            for chosen in todo:
                ahead.append(reader.submit(self._read, chosen))
                if len(ahead) > READ_AHEAD:
                    yield self._moved(*ahead.popleft().result())
            while ahead:
                yield self._moved(*ahead.popleft().result())

    def _read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        # Ascending rows make one pass over the file; the batch then takes its own order again.
        ascending, place = torch.sort(rows)
        images = torch.empty((len(rows), *self.mapped.shape[1:]), dtype=torch.uint8)
        images.numpy()[place.numpy()] = self.mapped[ascending.numpy()]
        return (images.pin_memory() if self.device.type == "cuda" else images), rows

    def _moved(self, images: Tensor, rows: Tensor) -> Batch:
        where = rows.to(self.device, non_blocking=True)
        return images.to(self.device, non_blocking=True), self.labels[where], where
