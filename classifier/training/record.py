"""What a training run has achieved: epoch by epoch, and in the end."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from classifier.models.spec import ModelSpec
from classifier.models.temperature import fit_temperature
from classifier.training.numerics import Numerics
from classifier.training.validation import Monitor, validation_scores

Row = dict[str, float]


class Record:
    """The history of a run, and the weights of its best epoch so far.

    ``history`` has a row an epoch; ``best_epoch`` counts from 1, 0 before the first;
    ``best_weights`` is a state dict on the CPU.
    """

    def __init__(self, monitor: Monitor) -> None:
        """Call the epoch best that has the best ``monitor`` on the validation split."""
        self.monitor = monitor
        self.history: list[Row] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self._best = [-math.inf]

    def add(self, train_loss: float, train_accuracy: float, scores: Row, lr: float) -> bool:
        """Take in an epoch; whether it is the best so far, so that its weights should be kept.

        Args:
            scores: what `validation_scores` gave.
        """
        row = {
            "epoch": len(self.history) + 1,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "val_loss": scores["loss"],
            "val_accuracy": scores["accuracy"],
            f"val_{self.monitor}": scores[self.monitor],
            "lr": lr,
        }
        self.history.append(row)
        sign = -1 if self.monitor == "loss" else 1
        # Few images give many ties in accuracy, which the loss decides.
        found = [sign * scores[self.monitor], -scores["loss"]]
        if found <= self._best:
            return False
        self._best = found
        self.best_epoch = len(self.history)
        return True

    def keep(self, network: nn.Module) -> None:
        """Keep a copy of these weights as the best."""
        state = network.state_dict()
        self.best_weights = {name: value.to("cpu", copy=True) for name, value in state.items()}

    def waited(self, patience: int | None) -> bool:
        """Whether ``patience`` epochs have passed without a better one."""
        return patience is not None and len(self.history) - self.best_epoch >= patience

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved to continue."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        vars(self).update(state)


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best epoch, on the CPU, and what is known of it.

    ``summary`` is what models/summary.json holds; ``val_logits`` are float32 [N,K], computed in
    float32 as everybody who loads the model will compute them. The bits depend on ``numerics``:
    the model file and models/summary.json say whether they are portable, and it and
    metrics/train.json the number of threads, where the CPU computed.
    """

    network: nn.Module
    plan: ModelSpec
    summary: dict[str, Any]
    history: list[Row]
    best_epoch: int
    val_logits: np.ndarray
    val_labels: np.ndarray
    numerics: Numerics

    def metrics(self) -> dict[str, Any]:
        """The content of metrics/train.json: of the best epoch, whose weights are kept."""
        best = self.history[self.best_epoch - 1]
        scores = validation_scores(self.val_logits, self.val_labels)
        monitored = {name: scores[name.removeprefix("val_")] for name in best if "val_" in name}
        return {
            "best_epoch": self.best_epoch,
            "epochs": len(self.history),
            "parameters": self.summary["parameters"],
            "train_loss": best["train_loss"],
            "train_accuracy": best["train_accuracy"],
            **monitored,
            **self._threads(),
        }

    def spec(self) -> ModelSpec:
        """What the model file says of the network, with a temperature for its probabilities."""
        temperature = fit_temperature(self.val_logits, self.val_labels)
        extra = {"numerics": self.numerics.kind, **self._threads()}
        return dataclasses.replace(self.plan, temperature=temperature, extra=extra)

    def _threads(self) -> dict[str, int]:
        return {"threads": self.numerics.threads} if self.numerics.threads else {}
