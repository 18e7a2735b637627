"""What a training run leaves behind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from classifier.calibration import fit_temperature
from classifier.modelfile import ModelSpec
from classifier.models import ModelParams
from classifier.validation import validation_scores

Row = dict[str, float]


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, and what is known of it.

    ``summary`` is what models/summary.json holds; ``val_logits`` are float32 [N,K], computed in
    float32 as everybody who loads the model will compute them.
    """

    network: nn.Module
    summary: dict[str, Any]
    history: list[Row]
    best_epoch: int
    val_logits: np.ndarray
    val_labels: np.ndarray

    def metrics(self) -> dict[str, Any]:
        """The content of metrics/train.json: of the best epoch, whose weights are kept."""
        best = self.history[self.best_epoch - 1]
        scores = validation_scores(self.val_logits, self.val_labels)
        return {
            "best_epoch": self.best_epoch,
            "epochs": len(self.history),
            "parameters": self.summary["parameters"],
            "train_loss": best["train_loss"],
            "train_accuracy": best["train_accuracy"],
            "val_loss": scores["loss"],
            "val_accuracy": scores["accuracy"],
        }

    def spec(self, model: ModelParams, meta: Mapping[str, Any]) -> ModelSpec:
        """What the model file says of the network, with the temperature fitted to the val split."""
        return ModelSpec(
            name=model.name,
            args=model.args(),
            classes=tuple(meta["classes"]),
            channels=meta["channels"],
            image_size=meta["image_size"],
            resize=meta["resize"],
            mean=tuple(meta["mean"]),
            std=tuple(meta["std"]),
            temperature=fit_temperature(self.val_logits, self.val_labels),
            extra={"torch": torch.__version__},
        )
