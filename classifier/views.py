"""Test-time augmentation: score several views of a picture and average what the network says."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from classifier.batches import at_a_time
from classifier.calibration import log_partition

Pictures = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]

SHIFT = 1 / 32  # of the picture's side, at least one pixel


def views(images: Pictures, kind: str) -> list[Pictures]:
    """The views of uint8 images [N, H, W, C], the images themselves first.

    ``flips``: mirrored left to right; ``shifts``: moved up, down, left and right by SHIFT of the
    side, the edge pixels repeated; ``flips_and_shifts``: all of these; ``none``: no other view.
    """
    found = [images]
    if "shifts" in kind:
        _, height, width, _ = images.shape
        by = max(1, round(SHIFT * max(height, width)))
        padded = np.pad(images, ((0, 0), (by, by), (by, by), (0, 0)), mode="edge")
        for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
            top, left = down * by, right * by
            found.append(padded[:, top : top + height, left : left + width])
    if "flips" in kind:
        found += [view[:, :, ::-1] for view in found]
    return found


def averaged_logits(
    predict: Callable[[Pictures], Logits], images: Pictures, kind: str, batch_size: int
) -> Logits:
    """Logarithms of the mean probabilities over all views, float32 [N,K].

    They serve as logits: their softmax is the mean of the views' probabilities.

    Args:
        predict: uint8 [n, H, W, C] -> logits [n, K].
        images: uint8 [N, H, W, C], read ``batch_size`` at a time, fewer if they are large.
    """
    parts = []
    step = at_a_time(batch_size, images.shape[1:])
    for start in range(0, len(images), step):
        mean: npt.NDArray[np.float64] | float = 0.0
        found = views(np.asarray(images[start : start + step]), kind)
        for view in found:
            logits = predict(np.ascontiguousarray(view))
            mean += np.exp(logits - log_partition(logits)[:, None]) / len(found)
        # A probability below the smallest float has no logarithm.
        parts.append(np.log(np.maximum(mean, 1e-300)).astype(np.float32))
    return np.concatenate(parts)
