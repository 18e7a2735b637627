"""Encoded images in files, decoded when they are asked for: for sets that no disk holds as arrays.

An image is stored as a whole at a working resolution, somewhat larger than what the network sees,
so that a random crop of it, enlarged, shows detail that an array of the network's size has lost.
"""

import io
import math
import os
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from PIL import Image

from classifier.core.engine import cores
from classifier.core.resize import Resize, converted, scaled, to_array
from classifier.core.types import Float64Array, Int64Array, UInt8Array
from classifier.dataset.stored_images import StoredImages, damaged, in_threads, opened


class Crop(NamedTuple):
    """A random rectangle of an image: its area as a fraction, the ratio of its sides (width to
    height), and where it lies between left and right, and between top and bottom, 0 to 1 each."""

    area: float
    aspect: float
    x: float
    y: float


def part_path(folder: Path, split: str, number: int) -> Path:
    """The file of a part of a split; parts are numbered from 0."""
    return folder / f"{split}-{number:05d}.tar"


def view(
    data: bytes, size: int, channels: int, resize: Resize, crop: Crop | None = None
) -> UInt8Array:
    """What the network sees of an encoded image: uint8 [size, size, channels].

    Without ``crop`` that is `to_array` of the decoded image. A crop is stretched to the square:

    - of ``squash``, a rectangle of the squashed image: its ratio of sides is meant there;
    - of ``crop``, a rectangle of the whole image, not of its center alone, as is usual;
    - of ``pad``, a rectangle of the square with the borders.

    Raises:
        Exception: nearly any, of bytes that are damaged.
    """
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as file:
        file.load()
        image: Image.Image = file
    if crop is None:
        return to_array(image, size, channels, resize)
    image = converted(image, "L" if channels == 1 else "RGB")
    if resize.mode == "pad":
        image = _on_square(image)
    width, height = image.size
    aspect = crop.aspect * (height / width if resize.mode == "crop" else 1)
    across, down = (min(1.0, math.sqrt(part)) for part in (crop.area * aspect, crop.area / aspect))
    left, top = crop.x * (1 - across) * width, crop.y * (1 - down) * height
    box = (left, top, min(left + across * width, width), min(top + down * height, height))
    return np.asarray(scaled(image, (size, size), box, resize)).reshape(size, size, channels)


def _on_square(image: Image.Image) -> Image.Image:
    """The image in the middle of a black square."""
    side = max(image.size)
    square = Image.new(image.mode, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


class EncodedImages(StoredImages):
    """Images of which each is decoded whenever it is read, uint8 [N, H, W, C] to those who ask.

    Threads decode, for Pillow lets go of Python's lock meanwhile. Their number changes no bit.
    """

    def __init__(
        self, folder: Path, split: str, rows_in_part: int, size: int, channels: int, resize: Resize
    ) -> None:
        """Look at the index and the lengths of the files.

        Args:
            folder: has ``SPLIT_places.npy``, int64 [N, 2], the first byte in its part and the
                number of bytes of each image, and the parts, tar files as `part_path` names them.
            split: train, val, test or unlabelled.
            rows_in_part: images of each part; the last one has the rest.
            size: of the square that the network sees, in pixels.
            channels: 1 (gray) or 3 (color).
            resize: how an image becomes that square.

        Raises:
            UserError: a file is missing or damaged, or ends before its last image.
        """
        index = folder / f"{split}_places.npy"
        try:
            places = np.load(index)
        except (OSError, ValueError, EOFError) as error:
            raise damaged(index, error) from None
        part = np.arange(len(places)) // rows_in_part
        self._paths = [part_path(folder, split, n) for n in range(-(-len(places) // rows_in_part))]
        self._places: Int64Array = np.column_stack([part, places])  # part, first byte, bytes
        self._size, self._channels, self._resize = size, channels, resize
        self.shape = (len(places), size, size, channels)
        for number, path in enumerate(self._paths):
            ends = places[number * rows_in_part : (number + 1) * rows_in_part].sum(axis=1)
            with opened(path) as file:
                if file.seek(0, os.SEEK_END) < ends.max():
                    raise damaged(path, "it ends before its last image")

    def select(self, rows: slice | Int64Array) -> Self:
        """The images of these rows, in this order, none of which is read yet."""
        chosen = object.__new__(type(self))
        vars(chosen).update(vars(self))
        chosen._places = self._places[rows]
        chosen.shape = (len(chosen._places), *self.shape[1:])
        return chosen

    def read(self, rows: Int64Array, out: UInt8Array, crops: Float64Array | None = None) -> None:
        """Decode ``rows`` [n], in any order and perhaps repeated, into ``out`` uint8 [n, H, W, C].

        Args:
            crops: [n, 4], a `Crop` of each; None: the view that evaluation sees.

        Raises:
            UserError: an image is damaged, or a file is gone.
        """
        places = self._places[rows]

        def decode(chosen: Int64Array) -> None:
            for number in np.unique(places[chosen, 0]):
                path = self._paths[number]
                with opened(path) as file:
                    for row in chosen[places[chosen, 0] == number]:
                        file.seek(places[row, 1])
                        data = file.read(places[row, 2])
                        crop = None if crops is None else Crop(*crops[row].tolist())
                        try:
                            out[row] = view(data, self._size, self._channels, self._resize, crop)
                        except Exception as error:  # decoders raise nearly anything
                            raise damaged(path, error) from None

        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of this machine, as torchrun says
        in_threads(decode, np.lexsort(places.T[::-1]), max(1, cores() // ranks))
