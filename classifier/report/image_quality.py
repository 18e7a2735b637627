"""Images that are blank, dark, bright, blurred or of an odd size."""

import numpy as np

from classifier.core.types import (
    AnyArray,
    BoolArray,
    Float32Array,
    Int64Array,
)
from classifier.dataset.stored_images import Images, read_ahead


def image_quality(images: Images, sizes: Int64Array | None = None) -> dict[str, AnyArray]:
    """Measure each image and mark the doubtful ones; memory stays constant.

    The thresholds for dark and bright are those of CleanVision (0.32 and 0.95 of full brightness,
    at the 99th and the 5th percentile of the pixels). Sharpness is the variance of the Laplacian
    (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000).

    Args:
        images: uint8 [N, H, W, C], in memory or in files.
        sizes: [N, 2] width and height before resizing, or None.

    Returns:
        [N] arrays: ``brightness`` (mean, 0..1), ``contrast`` (standard deviation, 0..0.5) and
        ``sharpness`` as float32; ``blank`` (contrast < 0.005), ``dark``, ``bright``, ``blurred``
        (under a twentieth of the set's median sharpness) and ``odd_size`` (a side beyond twice or
        under half of the set's median, and outside three times its interquartile range) as bool.
    """
    n = len(images)
    names = ("brightness", "contrast", "sharpness", "shadows", "lights")
    measured = {name: np.zeros(n, np.float32) for name in names}
    step = max(1, (1 << 22) // max(1, int(np.prod(images.shape[1:]))))
    parts = [slice(start, start + step) for start in range(0, n, step)]
    for part, pixels in zip(parts, read_ahead(images.__getitem__, parts), strict=True):
        gray = pixels.mean(axis=3, dtype=np.float32) / 255
        flat = gray.reshape(len(gray), -1)
        measured["brightness"][part] = flat.mean(axis=1)
        measured["contrast"][part] = flat.std(axis=1)
        measured["sharpness"][part] = _laplacian(gray).reshape(len(gray), -1).var(axis=1)
        measured["shadows"][part], measured["lights"][part] = np.percentile(flat, (5, 99), axis=1)
    blank = measured["contrast"] < 0.005
    typical = np.median(measured["sharpness"][~blank]) if not blank.all() else 0.0
    return {
        **{name: measured[name] for name in ("brightness", "contrast", "sharpness")},
        "blank": blank,
        "dark": ~blank & (measured["lights"] < 0.32),
        "bright": ~blank & (measured["shadows"] > 0.95),
        "blurred": ~blank & (measured["sharpness"] < 0.05 * typical),
        "odd_size": np.zeros(n, bool) if sizes is None else _odd(sizes),
    }


def _laplacian(gray: Float32Array) -> Float32Array:
    """The discrete Laplacian of [N, H, W] at the inner pixels."""
    around = gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
    return around - 4 * gray[:, 1:-1, 1:-1]


def _odd(sizes: Int64Array) -> BoolArray:
    """Outliers among the sides: Tukey's outer fences on a logarithmic scale."""
    if not len(sizes):
        return np.zeros(0, bool)
    sides = np.log2(np.maximum(sizes, 1))
    low, middle, high = np.percentile(sides, (25, 50, 75), axis=0)
    outside = (sides < low - 3 * (high - low)) | (sides > high + 3 * (high - low))
    return np.asarray((outside & (np.abs(sides - middle) > 1)).any(axis=1))
