"""Images on their way to the network: uint8 arrays in, standardized float batches out.

Sets that fit live on the device as uint8 and a batch is one gather; larger ones stream from their
file, read ahead by threads. There are no worker processes and no work per image in Python.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from classifier.core.types import Float32Array
from classifier.dataset.encoded_images import EncodedImages
from classifier.dataset.stored_images import StoredImages, read_ahead
from classifier.training.memory import free_memory

RESIDENT_SHARE = 0.5  # of the free memory: the rest is for activations and optimizer state


def fits(size: int, device: torch.device) -> bool:
    """Whether ``size`` bytes of images may live on the device beside everything else.

    Each rank has a GPU of its own; the memory of a machine is for all of its ranks, and each one
    takes that much.
    """
    if device.type == "cuda":
        return size <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of this machine, as torchrun says
    return size * ranks <= RESIDENT_SHARE * free_memory()


Batch = tuple[Tensor, Tensor, Tensor]
"""images uint8 [B,H,W,C], or embeddings of their views float32 [B,V,D]; labels int64 [B], their
rows in the split int64 [B]"""

Crops = Callable[[int], Tensor]
"""the random crops [B, 4] of a batch, which is counted from 0 in its epoch; as `Crop` says"""


class Batches:
    """The images and labels of one split, handed out in any order, batch by batch.

    The batches are the same, bit for bit, whether the images are resident or streamed.
    """

    def __init__(
        self,
        images: StoredImages | Float32Array,
        labels: np.ndarray,
        device: torch.device,
        place: Literal["auto", "resident", "stream"] = "auto",
    ) -> None:
        """Take uint8 images [N,H,W,C] and int64 labels [N]; ``auto``: resident if that `fits`.

        Or embeddings of the images, float32 [N,V,D] of their V views, which are resident.
        """
        self.device = device
        self.resident = fits(images.nbytes, device) if place == "auto" else place == "resident"
        self.labels = torch.from_numpy(np.asarray(labels, np.int64)).to(device)
        self.waited = 0.0  # seconds spent on getting batches, since the start
        if self.resident or isinstance(images, np.ndarray):
            self.resident = True
            self.images = torch.from_numpy(images[:]).to(device)
        else:
            self.stored = images

    def epoch(
        self, order: Tensor, batch_size: int, first: int = 0, crops: Crops | None = None
    ) -> Iterator[Batch]:
        """Yield images, labels and rows for each full batch of ``order``, all on the device.

        Args:
            order: rows, int64 on the CPU. What does not fill a batch at its end is left out; the
                next epoch's order brings other rows there.
            first: the batch to begin with, counted from 0.
            crops: of encoded images that are streamed.
        """
        rows = [
            order[start : start + batch_size]
            for start in range(first * batch_size, len(order) - batch_size + 1, batch_size)
        ]
        source = self._gathered(rows) if self.resident else self._streamed(rows, first, crops)
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

    def _streamed(self, rows: list[Tensor], first: int, crops: Crops | None) -> Iterator[Batch]:
        pieces = ((chosen, crops and crops(at)) for at, chosen in enumerate(rows, first))
        for images, chosen in zip(read_ahead(self._read, pieces), rows, strict=True):
            where = chosen.to(self.device, non_blocking=True)
            yield images.to(self.device, non_blocking=True), self.labels[where], where

    def _read(self, piece: tuple[Tensor, Tensor | None]) -> Tensor:
        rows, crops = piece
        shape = (len(rows), *self.stored.shape[1:])
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        if crops is None:
            self.stored.read(rows.numpy(), images.numpy())
        else:
            assert isinstance(self.stored, EncodedImages)
            self.stored.read(rows.numpy(), images.numpy(), crops.double().numpy())
        return images
