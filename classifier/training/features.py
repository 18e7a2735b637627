"""The last layer trained on embeddings that a frozen backbone gave once, in place of on images."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.core.types import Float32Array
from classifier.core.wording import counted
from classifier.dataset.prepared import PreparedData
from classifier.models.classifier import Classifier
from classifier.models.kept_embeddings import KeptEmbeddings, without_last_layer
from classifier.models.registry import ModelParams
from classifier.training.batches import Batch, Batches
from classifier.training.distributed import Ranks
from classifier.training.params import TrainParams
from classifier.training.record import Record, Trained
from classifier.training.seeding import generator
from classifier.training.session import Session


def check(params: TrainParams, model: ModelParams, augment: AugmentParams) -> None:
    """Raise UserError where ``train.feature_views`` cannot do what the others ask for."""
    if params.feature_views is None:
        return
    reason = ""
    if not model.frozen:
        reason = (
            "a backbone that is trained gives other ones in each step; set model.freeze to backbone"
        )
    elif params.feature_views > 1 and (augment.mixup or augment.cutmix):
        reason = "views of single images are computed; set augment.mixup and augment.cutmix to 0"
    elif params.progressive.first_scale != 1:
        reason = "they are of one image size; set train.progressive.first_scale to 1"
    elif params.processes > 1:
        reason = "one process computes them; set train.processes to 1"
    if reason:
        raise UserError(f"train.feature_views keeps embeddings, and {reason}, or this to null.")


def train_embeddings(
    session: Session, kept: KeptEmbeddings, augment: AugmentParams
) -> Float32Array:
    """Embeddings float32 [V, N, D] of ``train.feature_views`` views of the train split.

    The first view is the images as they are, each other one augmented.
    """
    views = [kept.of("train")]
    for number in range(1, session.params.feature_views or 1):
        facts = [number, asdict(augment), session.params.seed, session.batch_size]
        views.append(kept.kept("train", facts, partial(_embedded, session, number)))
    return np.stack(views)


@torch.inference_mode()
def _embedded(session: Session, number: int) -> Float32Array:
    network = session.network
    training = network.training
    network.eval()
    with without_last_layer(network):
        parts = [network(part).float().cpu().numpy() for part in session.view(number)]
    network.train(training)
    return np.concatenate(parts)


class LastLayer(Classifier):
    """The last layer of a network, and the dropout before it, behind embeddings [N, D]."""

    def __init__(self, network: Classifier) -> None:
        """Copy them from ``network``; UserError if its head has other weights."""
        last = network.last_linear
        others = {id(weights) for weights in network.head.parameters()}
        if others - {id(weights) for weights in last.parameters()}:
            raise UserError(
                "train.feature_views: the head of this network has more layers than one: set it to"
                " null."
            )
        drops = [part for part in network.head.modules() if isinstance(part, nn.Dropout)]
        copy = nn.Linear(last.in_features, last.out_features, last.bias is not None)
        copy.load_state_dict(last.state_dict())
        super().__init__({}, nn.Sequential(*(nn.Dropout(drop.p) for drop in drops), copy))
        self.to(last.weight.device)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[N, D] -> [N, classes]."""
        logits: Tensor = self.head(embeddings)
        return logits


class FeatureSession(Session):
    """Trains the last layer of a network, on embeddings; the numbers are those of training through
    the frozen backbone, to the accuracy of float32.

    Attributes:
        whole: the network; `network` is its `LastLayer`.
    """

    def __init__(
        self,
        params: TrainParams,
        model: ModelParams,
        augment: AugmentParams,
        data: PreparedData,
        ranks: Ranks,
        folder: Path,
        say: Callable[[str], None] = print,
    ) -> None:
        """As `Session`, with a folder in which embeddings are kept from one run to the next."""
        super().__init__(replace(params, data_placement="stream"), model, augment, data, ranks)
        self.whole = self.network
        kept = KeptEmbeddings(folder, self.whole, self.spec, data, self.device, say)
        views = train_embeddings(self, kept, augment)
        tta = self.whole.test_time_augmentation
        self.val = torch.from_numpy(kept.of("val", test_time_augmentation=tta)).to(self.device)
        self.network = LastLayer(self.whole)
        self.numerics = replace(self.numerics, precision="fp32", channels_last=False, compile=False)
        by_image = views.transpose(1, 0, 2)
        self.batches = Batches(by_image, self.labels, self.device)
        self._prepare_updates()

    def describe(self) -> str:
        """What trains how, in one line."""
        count, views = self.batches.images.shape[:2]
        return (
            f"{self.device.type}, {self.numerics}; the last layer, on the embeddings of {views}"
            f" {'view' if views == 1 else 'views'} of {count:,} images;"
            f" {counted(self.steps, 'batch', 'batches')} of {self.batch_size}"
        )

    def _augmented(self, number: int, batch: Batch) -> tuple[Tensor, Tensor]:
        """A view of each image, drawn at random, and the labels."""
        if self.network is self.whole:  # on the way to the embeddings
            return super()._augmented(number, batch)
        views, labels, _ = batch
        random = generator(self.params.seed, "view", number)
        drawn = torch.randint(views.shape[1], (len(views),), generator=random)
        return views[torch.arange(len(views)), drawn], labels

    def val_logits(self, autocast: torch.dtype | None = None) -> np.ndarray:
        """Of all val images; float32 [N, K]."""
        self.scored.eval()
        with torch.inference_mode():
            return cast(np.ndarray, self.scored(self.val).cpu().numpy())

    def result(
        self, network: Classifier, record: Record, val_logits: np.ndarray, val_labels: np.ndarray
    ) -> Trained:
        """What a run ends with: the whole network with the last layer of ``network``."""
        self.whole.last_linear.load_state_dict(network.last_linear.state_dict())
        return super().result(self.whole, record, val_logits, val_labels)
