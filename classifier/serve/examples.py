"""Pictures of the test set, for people who have none at hand."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from classifier.core.errors import UserError
from classifier.core.types import UInt8Array
from classifier.dataset.prepared import PreparedData
from classifier.models.spec import ModelSpec

MOST = 12


@dataclass(frozen=True)
class Examples:
    """Some pictures, uint8 [n, S, S, C], and their true classes' names."""

    pictures: UInt8Array
    labels: list[str]

    def png(self, number: int) -> bytes:
        """One picture, encoded without loss."""
        buffer = io.BytesIO()
        Image.fromarray(self.pictures[number].squeeze()).save(buffer, "PNG")
        return buffer.getvalue()


def examples(folder: Path, spec: ModelSpec) -> Examples:
    """Up to MOST test pictures, of as many classes as that allows.

    None where the folder has no test pictures, or those of other classes than the model's.
    """
    none = Examples(np.zeros((0, 1, 1, 1), np.uint8), [])
    try:
        data = PreparedData.open(folder)
    except UserError:
        return none
    if "test" not in data.splits or tuple(data.classes) != spec.classes:
        return none
    labels = data.labels("test")
    _, first = np.unique(labels, return_index=True)
    # One of each class, spread over the classes; then others, where the classes are few.
    chosen = first[np.unique(np.linspace(0, len(first) - 1, MOST).astype(int))].tolist()
    others = np.setdiff1d(np.arange(len(labels)), chosen)[: MOST - len(chosen)].tolist()
    rows = np.array(chosen + others)
    return Examples(data.images("test")[rows], [data.classes[label] for label in labels[rows]])
