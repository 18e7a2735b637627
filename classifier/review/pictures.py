"""Images as a browser shows them: decoded by the rules of training, in the size asked for."""

import io
from pathlib import Path

from PIL import Image

from classifier.core.value_range import Ranges
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.images.store import read_bytes

LARGEST = 1024  # pixels of the longer side
_LOSSLESS = 96  # pixels, up to which each of them is seen as a square
_QUALITY = 88  # of JPEG


class Pictures:
    """The images of the shards, by their row in the manifest."""

    def __init__(self, raw: Path, manifest: Manifest, ranges: Ranges) -> None:
        """``ranges`` are those by which values beyond 8 bits become gray or color."""
        self._raw, self._manifest, self._ranges = raw, manifest, ranges

    def encoded(self, row: int, side: int) -> tuple[bytes, str]:
        """An image whose longer side has at most ``side`` pixels: PNG or JPEG, and its media type.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        known = self._manifest
        shard, offset, size = known.shard[row], int(known.offset[row]), int(known.size[row])
        image = decode(read_bytes(self._raw, str(shard), offset, size), self._ranges)
        side = min(side, LARGEST)
        if max(image.size) > side:
            image.thumbnail((side, side), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        if max(image.size) <= _LOSSLESS:
            image.save(file, "PNG")
            return file.getvalue(), "image/png"
        image.save(file, "JPEG", quality=_QUALITY)
        return file.getvalue(), "image/jpeg"
