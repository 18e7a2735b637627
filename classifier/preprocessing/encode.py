"""Write images encoded anew at a working resolution, for sets that no disk holds as arrays."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from classifier.core.resize import SQUASH, Resize, converted, scaled
from classifier.core.types import Int64Array, UInt8Array
from classifier.core.value_range import Ranges
from classifier.dataset.encoded_images import part_path, view
from classifier.images.decode import decode
from classifier.images.manifest import Manifest
from classifier.images.parallel import ordered_map
from classifier.images.store import read_bytes, shard_writer
from classifier.preprocessing.value_range import Place, undecodable

Quality = int | Literal["lossless"]

# A JPEG file has 600 bytes of tables, and its blocks of 8 pixels are seen in small images.
LOSSLESS_BELOW = 64  # pixels of the shorter side
LARGEST_JPEG = 65500  # pixels of a side


def encoded(
    image: Image.Image, channels: int, shorter: int, quality: Quality, resize: Resize = SQUASH
) -> tuple[str, bytes]:
    """The ending (.jpg, .png) and the bytes of an image at its working resolution.

    Args:
        image: in gray or color.
        channels: 1 (gray) or 3 (color).
        shorter: the image is shrunk to this shorter side in pixels, and never enlarged.
        quality: of JPEG, 1 to 100, with colors at full resolution: at the same bytes that is nearer
            to the image than a higher quality with half of it. PNG, which loses nothing, for
            "lossless" and for what has a side under LOSSLESS_BELOW pixels.
        resize: its filter shrinks the image.
    """
    image = converted(image, "L" if channels == 1 else "RGB")
    least = min(image.size)
    if least > shorter:
        width, height = (round(side * shorter / least) for side in image.size)
        image = scaled(image, (width, height), None, resize)
    data = io.BytesIO()
    if quality == "lossless" or min(image.size) < LOSSLESS_BELOW or max(image.size) > LARGEST_JPEG:
        image.save(data, "png")
        return ".png", data.getvalue()
    image.save(data, "jpeg", quality=quality, subsampling="4:4:4", optimize=True)
    return ".jpg", data.getvalue()


@dataclass(frozen=True)
class Encoding:
    """Where images are, where they go, how they are encoded, and what the network will see."""

    raw: Path
    folder: Path
    shorter: int
    quality: Quality
    size: int
    channels: int
    resize: Resize
    ranges: Ranges


def write_encoded(
    how: Encoding,
    manifest: Manifest,
    splits: Mapping[str, Int64Array],
    rows_in_part: int,
    workers: int,
) -> Iterator[tuple[int, Int64Array]]:
    """Write the images of each split in parts, and the index of each split.

    Args:
        splits: rows of the manifest.
        rows_in_part: images in each file; the last one of a split has the rest.
        workers: processes; 0 for one a core.

    Yields:
        After each part its number of images, and [channels, 256] how often each value occurs in
        what the network will see of them; zeros for other splits than train.
    """
    parts = (
        _Part(how, split, number, first, manifest.places(rows[first : first + rows_in_part]))
        for split, rows in splits.items()
        for number, first in enumerate(range(0, len(rows), rows_in_part))
    )
    written: dict[str, list[Int64Array]] = {split: [] for split in splits}
    for split, places, histogram in ordered_map(_write_part, parts, workers):
        written[split].append(places)
        yield len(places), histogram
    for split, found in written.items():
        np.save(how.folder / f"{split}_places.npy", np.concatenate(found))


class _Part(NamedTuple):
    """Images to encode into one file, by one worker from its start to its end."""

    how: Encoding
    split: str
    number: int  # of the part
    first: int  # row of its first image in the split
    places: list[Place]


def _write_part(part: _Part) -> tuple[str, Int64Array, Int64Array]:
    """Returns the split; [n, 2] first byte and number of bytes of each image; the histogram."""
    how = part.how
    histogram = np.zeros((how.channels, 256), np.int64)
    written = []
    with shard_writer(part_path(how.folder, part.split, part.number)) as add:
        for row, (name, shard, offset, length) in enumerate(part.places, part.first):
            try:
                original = read_bytes(how.raw, shard, offset, length)
                enough = Resize("crop").enough(how.shorter)
                image = decode(original, how.ranges, enough=enough)
            except (ValueError, OSError) as error:
                raise undecodable(name, error) from None
            ending, data = encoded(image, how.channels, how.shorter, how.quality, how.resize)
            location = add(f"{part.split}-{row:09d}{ending}", data)
            written.append((location.offset, location.size))
            if part.split == "train":
                histogram += counted(view(data, how.size, how.channels, how.resize))
    return part.split, np.array(written, np.int64), histogram


def counted(pixels: UInt8Array) -> Int64Array:
    """[channels, 256] how often each value occurs in pixels [..., channels]."""
    return np.array(
        [np.bincount(channel.reshape(-1), minlength=256) for channel in np.moveaxis(pixels, -1, 0)]
    )
