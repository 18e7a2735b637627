"""Which values beyond 8 bits are black and white, measured over the train split."""

from functools import partial
from pathlib import Path

import numpy as np

from classifier.core.errors import UserError
from classifier.core.types import Int64Array
from classifier.core.value_range import Kind, Range
from classifier.images.decode import inspect
from classifier.images.manifest import Manifest
from classifier.images.parallel import ordered_map
from classifier.images.store import read_bytes
from classifier.images.stored import is_deep
from classifier.images.values import Values, value_ranges

_PIECE = 16  # images that one task of a worker decodes: they are large

Place = tuple[str, str, int, int]  # id, shard, offset, size


def measured(
    raw: Path, manifest: Manifest, rows: Int64Array, workers: int = 0
) -> dict[Kind, Range]:
    """The range of each kind of values that images of more than 8 bits have.

    Args:
        raw: the folder with the shards.
        manifest: the images.
        rows: those of the train split. Nothing is learned from any other.
        workers: processes that decode; 0 for one a core.

    Returns:
        As `classifier.images.values.value_ranges`; empty where all images have 8 bits.

    Raises:
        UserError: an image cannot be decoded; the sentence names its id.
    """
    deep = rows[np.array([is_deep(mode) for mode in manifest.mode[rows].tolist()], bool)]
    places = manifest.places(deep)
    pieces = [places[start : start + _PIECE] for start in range(0, len(places), _PIECE)]
    extents = ordered_map(partial(_extents, raw), pieces, workers)
    return value_ranges(extent for piece in extents for extent in piece)


def undecodable(name: str, error: Exception) -> UserError:
    """What to say of an image that `download` could decode."""
    return UserError(f"image {name!r} cannot be decoded ({error}): run dvc repro --force download.")


def _extents(raw: Path, places: list[Place]) -> list[tuple[Kind, float, float]]:
    found: list[tuple[Kind, float, float]] = []
    for name, shard, offset, size in places:
        try:
            pixels = inspect(read_bytes(raw, shard, offset, size)).pixels
        except (ValueError, OSError) as error:
            raise undecodable(name, error) from None
        if isinstance(pixels, Values) and (extent := pixels.extent()):
            found.append((pixels.kind, *extent))
    return found
