"""From uint8 images to logits: standardize, and pass through the network in constant memory."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from classifier.dataset.stored_images import Images, StoredImages, read_ahead
from classifier.models.classifier import Entry

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


def together(network: nn.Module, shape: Sequence[int], batch_size: int) -> int:
    """How many images [H, W, C] go through this network together, as it sees them: `at_a_time`."""
    height, width, channels = shape
    seen = max((part.size for part in network.modules() if isinstance(part, Entry)), default=0)
    return at_a_time(batch_size, (max(height, seen), max(width, seen), channels))


@torch.inference_mode()
def predict_logits(
    network: nn.Module,
    images: Images | Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    device: str | torch.device = "cpu",
    batch_size: int = 512,
    autocast: torch.dtype | None = None,
    keep: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """Logits float32 [N,K] of uint8 images [N,H,W,C], batch by batch in constant memory.

    Args:
        images: in files, which are read ahead; an array; or a tensor, perhaps on the device.
        batch_size: images that go through the network together, fewer of large ones: `at_a_time`.
        autocast: compute in this type (bfloat16, float16) where torch considers it safe.
        keep: makes of the logits of a batch what is kept of them.
    """
    device = torch.device(device)
    was_training = network.training
    network.eval()
    found, done = np.zeros((0, 0), np.float32), 0
    step = together(network, images.shape[1:], batch_size)
    for batch in _in_parts(images, step):
        with torch.autocast(device.type, autocast, enabled=autocast is not None):
            logits = network(normalize(batch.to(device, non_blocking=True), mean, std))
        kept = keep(logits.float().cpu().numpy())
        if not done:
            # One block: small ones between the maps would keep the heap from using their memory.
            found = np.empty((len(images), *kept.shape[1:]), kept.dtype)
        found[done : done + len(kept)] = kept
        done += len(kept)
    network.train(was_training)
    return found


def _in_parts(images: Images | Tensor, step: int) -> Iterator[Tensor]:
    parts = [slice(start, start + step) for start in range(0, len(images), step)]
    if isinstance(images, StoredImages):
        yield from map(torch.from_numpy, read_ahead(images.__getitem__, parts))
    else:
        for part in parts:
            batch = images[part]
            yield batch if isinstance(batch, Tensor) else torch.tensor(batch)
