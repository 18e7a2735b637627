"""Which images are identical, and which look alike: hashes of the decoded pixels."""

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from classifier.images.resize import converted, scaled


def content_hash(image: Image.Image) -> str:
    """The same 32 hex digits for the same pixels, whatever the file format: BLAKE2b of the RGB.

    A gray picture equals its colour copy, since both mean the same pixels.
    """
    digest = hashlib.blake2b(b"%dx%d" % image.size, digest_size=16)
    digest.update(converted(image, "RGB").tobytes())
    return digest.hexdigest()


def perceptual_hash(image: Image.Image) -> int:
    """A 64-bit pHash: pictures that look alike differ in few bits (see `perceptual_hashes`)."""
    return perceptual_hashes([thumbnail(image)])[0]


def hash_hex(value: int) -> str:
    """A perceptual hash as the 16 hex digits that the manifest holds."""
    return f"{value:016x}"


def thumbnail(image: Image.Image) -> np.ndarray:
    """The 32×32 gray picture (uint8) that the perceptual hash looks at."""
    return np.asarray(scaled(converted(image, "L"), (_THUMBNAIL, _THUMBNAIL), None))


def perceptual_hashes(thumbnails: Sequence[np.ndarray]) -> list[int]:
    """pHash of 32×32 gray pictures (uint8): 64-bit integers, compared by Hamming distance.

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
