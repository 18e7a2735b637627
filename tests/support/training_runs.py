"""Short runs of the training loop on small digits, for its tests."""

import dataclasses
import hashlib
from typing import Any

from classifier.augment.augmenter import AugmentParams
from classifier.dataset.prepared import PreparedData
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams
from classifier.training.loop import train
from classifier.training.params import TrainParams
from classifier.training.record import Trained

SMALL = ModelParams("cnn", cnn=CnnParams(filters=(16, 32), dense_units=32))
SHIFT = AugmentParams(shift=0.125)
PARAMS = TrainParams(
    lr=0.01, epochs=2, batch_size=64, optimizer="adamw", seed=0, schedule="onecycle"
)


def fit(images: PreparedData, augment: AugmentParams = SHIFT, **changes: Any) -> Trained:
    options = {name: changes.pop(name) for name in ("checkpoints", "on_epoch") if name in changes}
    model = changes.pop("model", SMALL)
    params = dataclasses.replace(PARAMS, **changes)
    return train(params, model, augment, images, say=lambda line: None, **options)


def digest(trained: Trained) -> str:
    """Of all weights, bit by bit."""
    content = hashlib.sha256()
    for value in trained.network.state_dict().values():
        content.update(value.contiguous().numpy().tobytes())
    return content.hexdigest()
