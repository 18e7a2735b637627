"""Which images are identical, and which look alike: hashes of the decoded pixels."""

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from classifier.core.resize import converted, scaled
from classifier.images.values import SIXTEEN_BITS, Values


def content_hash(pixels: Image.Image | Values) -> str:
    """The same 32 hex digits for the same pixels, whatever the file format: BLAKE2b of the RGB.

    A gray image equals its color copy, since both mean the same pixels. Beyond 8 bits the values
    count as they are stored; those that 8 bits can express equal them.
    """
    if isinstance(pixels, Values):
        found = _exact(pixels)
        if isinstance(found, bytes):
            return hashlib.blake2b(found, digest_size=16).hexdigest()
        pixels = found
    digest = hashlib.blake2b(b"%dx%d" % pixels.size, digest_size=16)
    digest.update(converted(pixels, "RGB").tobytes())
    return digest.hexdigest()


def _exact(values: Values) -> Image.Image | bytes:
    """Equal for equal values: an image of 8 bits if it is one, or else the bytes."""
    array = values.array
    if values.kind == "integer" and array.min() >= 0 and array.max() <= 65535:
        array = array.astype(np.uint16)
        if ((array >> 8) * 257 == array).all():  # 8 bits in 16, as every program converts them
            return values.image({"integer": SIXTEEN_BITS})
    if array.ndim == 3 and (array == array[..., :1]).all():
        array = array[..., 0]
    facts = repr((array.dtype.str, array.shape)).encode()
    return facts + array.tobytes() + (b"" if values.alpha is None else values.alpha.tobytes())


def perceptual_hash(image: Image.Image) -> int:
    """A 64-bit pHash: images that look alike differ in few bits (see `perceptual_hashes`)."""
    return perceptual_hashes([thumbnail(image)])[0]


def is_blank(image: Image.Image) -> bool:
    """Whether all pixels of an image are the same."""
    ends = np.reshape(image.getextrema(), (-1, 2))
    return bool((ends[:, 0] == ends[:, 1]).all())


def hash_hex(value: int) -> str:
    """A perceptual hash as the 16 hex digits that the manifest holds."""
    return f"{value:016x}"


def thumbnail(image: Image.Image) -> np.ndarray:
    """The 32×32 gray image (uint8) that the perceptual hash looks at."""
    return np.asarray(scaled(converted(image, "L"), (_THUMBNAIL, _THUMBNAIL), None))


def perceptual_hashes(thumbnails: Sequence[np.ndarray]) -> list[int]:
    """pHash of 32×32 gray images (uint8): 64-bit integers, compared by Hamming distance.

    Each bit says whether one of the 8×8 lowest frequencies of the discrete cosine transform is
    above the median of the 64 (C. Zauner, "Implementation and Benchmarking of Perceptual Image
    Hash Functions", 2010). The cosines are rounded to whole numbers, which makes every sum exact
    and the hash the same on every machine.
    """
    if not thumbnails:
        return []
    basis = _cosines()
    frequencies = basis @ np.stack(thumbnails).astype(np.float64) @ basis.T
    flat = frequencies.reshape(len(thumbnails), 64)
    bits = flat > np.median(flat, axis=1, keepdims=True)
    return [int.from_bytes(row.tobytes(), "big") for row in np.packbits(bits, axis=1)]


_THUMBNAIL = 32


@cache
def _cosines() -> np.ndarray:
    """The 8 lowest rows of the DCT-II of length 32, as whole numbers in float64 [8, 32]."""
    frequency = np.arange(8)[:, None]
    position = np.arange(_THUMBNAIL)[None, :]
    cosines = np.cos(np.pi * frequency * (2 * position + 1) / (2 * _THUMBNAIL))
    cosines[0] /= np.sqrt(2)
    return np.round(cosines * 4096)
