"""From encoded bytes to the pixels that everything else sees: one set of rules for every image.

Training, prediction and serving all go through `decode` and `to_array`, so that an image means
the same wherever it comes in. Only Pillow and NumPy are imported here.
"""

from classifier.images.decode import Decoded, decode, inspect
from classifier.images.formats import (
    EXTENSIONS,
    FORMATS,
    MAX_PIXELS,
    TooLargeError,
    UnknownFormatError,
)
from classifier.images.hashing import (
    content_hash,
    hash_hex,
    is_blank,
    perceptual_hash,
    perceptual_hashes,
    thumbnail,
)
from classifier.images.resize import REDUCING_GAP, Resize, to_array
from classifier.images.stored import is_deep
from classifier.images.values import Range, Ranges, Values, ranges_in, value_ranges

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MAX_PIXELS",
    "REDUCING_GAP",
    "Decoded",
    "Range",
    "Ranges",
    "Resize",
    "TooLargeError",
    "UnknownFormatError",
    "Values",
    "content_hash",
    "decode",
    "hash_hex",
    "inspect",
    "is_blank",
    "is_deep",
    "perceptual_hash",
    "perceptual_hashes",
    "ranges_in",
    "thumbnail",
    "to_array",
    "value_ranges",
]
