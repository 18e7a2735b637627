"""Pictures of the test set, for people who have none at hand."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from classifier.core.errors import UserError
from classifier.core.types import Int64Array
from classifier.dataset.prepared import PreparedData
from classifier.dataset.stored_images import StoredImages
from classifier.models.spec import ModelSpec

MOST = 12  # that are shown at a time


@dataclass(frozen=True)
class Examples:
    """Up to MOST pictures of each class, read when they are asked for.

    ``labels`` has the true class's name by the picture's number, ``mixed`` the numbers of pictures
    of many classes.
    """

    pictures: StoredImages | None
    labels: dict[int, str]
    mixed: list[int]

    def of(self, wanted: str | None) -> list[int]:
        """The numbers of a class's pictures, or of a mixture."""
        if wanted is None:
            return self.mixed
        return [number for number, label in self.labels.items() if label == wanted]

    def png(self, number: int) -> bytes:
        """One picture, encoded without loss."""
        assert self.pictures is not None
        buffer = io.BytesIO()
        Image.fromarray(self.pictures[number].squeeze()).save(buffer, "PNG")
        return buffer.getvalue()


def examples(folder: Path, spec: ModelSpec) -> Examples:
    """Test pictures of every class, the first ones, and a mixture of as many classes as it can.

    None where the folder has no test pictures, or those of other classes than the model's.
    """
    none = Examples(None, {}, [])
    try:
        data = PreparedData.open(folder)
    except UserError:
        return none
    if "test" not in data.splits or tuple(data.classes) != spec.classes:
        return none
    labels = data.labels("test")
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    shown = np.sort(np.concatenate([part[:MOST] for part in np.split(order, starts[1:])]))
    names = [data.classes[label] for label in labels[shown].tolist()]
    by_number = dict(zip(shown.tolist(), names, strict=True))
    return Examples(data.images("test"), by_number, _mixed(order[starts], shown))


def _mixed(first: Int64Array, shown: Int64Array) -> list[int]:
    """One of each class, ``first``, spread over the classes; then others, where these are few."""
    chosen = first[np.unique(np.linspace(0, len(first) - 1, MOST).astype(int))].tolist()
    return [*chosen, *np.setdiff1d(shown, chosen)[: MOST - len(chosen)].tolist()]
