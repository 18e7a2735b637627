"""From encoded bytes to the pixels that everything else sees: one set of rules for every image.

Training, prediction and serving all go through `decode` and `to_array`, so that an image means
the same wherever it comes in. Only Pillow and NumPy are imported here.
"""

from classifier.images.decode import Decoded, decode, inspect
from classifier.images.formats import EXTENSIONS, FORMATS, MAX_PIXELS
from classifier.images.hashing import (
    content_hash,
    hash_hex,
    perceptual_hash,
    perceptual_hashes,
    thumbnail,
)
from classifier.images.resize import REDUCING_GAP, Resize, to_array

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MAX_PIXELS",
    "REDUCING_GAP",
    "Decoded",
    "Resize",
    "content_hash",
    "decode",
    "hash_hex",
    "inspect",
    "perceptual_hash",
    "perceptual_hashes",
    "thumbnail",
    "to_array",
]
