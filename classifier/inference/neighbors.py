"""The training images that a network finds most like new ones, from what its evaluation kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from classifier.core.files import sha256
from classifier.core.types import Int64Array, UInt8Array
from classifier.dataset.prepared import PreparedData
from classifier.dataset.stored_images import StoredImages
from classifier.inference.predictor import Predictor
from classifier.metrics.neighbors import Embedded, nearest, unit

if TYPE_CHECKING:
    from classifier.inference.torch_backend import TorchPredictor

BESIDE = 3  # training images shown beside an image
EMBEDDINGS = Path("data/predictions/embeddings.npz")
PREPARED = Path("data/prepared")


@dataclass(frozen=True)
class Neighbor:
    """A training image: its pixels uint8 [S, S, C], its class, and its cosine distance, 0..2."""

    pixels: UInt8Array
    label: str
    distance: float


@dataclass(frozen=True)
class TrainingImages:
    """The training images that ``evaluate`` looked at, and the model that it did with."""

    predictor: "TorchPredictor"
    embedded: Embedded
    images: StoredImages
    labels: Int64Array

    def __len__(self) -> int:
        return len(self.embedded.rows)

    def beside(self, images: UInt8Array, count: int = BESIDE) -> list[list[Neighbor]]:
        """The nearest training images of each of [N, S, S, C], nearest first."""
        _, embeddings = self.predictor.seen(images)
        found = nearest(unit(embeddings), self.embedded.vectors, count)
        classes = self.predictor.spec.classes
        return [
            [
                Neighbor(self.images[row], classes[self.labels[row]], distance)
                for row, distance in zip(rows.tolist(), distances.tolist(), strict=True)
            ]
            for rows, distances in zip(self.embedded.rows[found.rows], found.distance, strict=True)
        ]


def training_images(
    predictor: Predictor, embeddings: Path = EMBEDDINGS, prepared: Path = PREPARED
) -> TrainingImages | str:
    """What a predictor's model was evaluated with in this folder, or why there is no such thing."""
    if predictor.backend != "torch" or predictor.spec.name == "ensemble":
        return "they take a single network on torch"
    on_torch = cast("TorchPredictor", predictor)
    if not embeddings.is_file():
        return f"there is no {embeddings}, which dvc repro evaluate writes"
    with np.load(embeddings) as kept:
        if str(kept["model"]) != sha256(on_torch.path):
            return f"{embeddings} is of another model"
        if "train" not in kept:
            return "evaluate.train_images is 0"
        embedded = Embedded(kept["train_rows"], kept["train"])
    if not (prepared / "meta.json").is_file():
        return f"there is no {prepared}, which dvc checkout brings back"
    data = PreparedData.open(prepared)
    return TrainingImages(on_torch, embedded, data.images("train"), data.labels("train"))
