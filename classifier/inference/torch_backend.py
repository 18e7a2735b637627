"""Models of this project on torch."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from classifier.core.errors import UserError
from classifier.core.softmax import softmax
from classifier.core.types import Float32Array, UInt8Array
from classifier.evaluation.embedding import recorded_embeddings
from classifier.evaluation.grad_cam import grad_cam
from classifier.models.device import choose_device
from classifier.models.forward import normalize, predict_logits
from classifier.models.known import KnownScore
from classifier.models.model_file import load as load_model
from classifier.models.spec import damaged


class TorchPredictor:
    """A model file on torch, in float32: what the stage ``evaluate`` computes."""

    backend = "torch"

    def __init__(self, path: str | Path, device: str = "auto", threads: int = 0) -> None:
        """Load a model file; one call computes on ``threads`` cores, 0 for torch's own choice.

        Raises:
            UserError: not a model file, or one that gives no probabilities: each of its numbers is
                finite, but float32 does not hold what follows from them.
        """
        self.device = choose_device(device)
        self.path = path
        self.threads = threads
        self._turn = Lock()
        self.network, self.spec = load_model(path, str(self.device))
        decision = self.spec.decision
        by_more = decision is not None and decision.known_by in ("energy", "distance")
        self._known = KnownScore(self.network, decision) if decision and by_more else None
        size = self.spec.image_size
        extremes = np.zeros((2, size, size, self.spec.channels), np.uint8)
        extremes[1] = 255  # a black image and a white one
        with np.errstate(all="ignore"):
            if not np.isfinite(self.scored(extremes)).all():
                raise damaged(path, "it gives no probabilities, but infinite or undefined values")

    def probabilities(self, images: UInt8Array) -> Float32Array:
        """Softmax of the logits, divided by the temperature."""
        return self.scored(images)[:, :-1]

    def scored(self, images: UInt8Array) -> Float32Array:
        """The same, and how well each image is known."""
        if self.threads:  # holds for the calling thread
            torch.set_num_threads(self.threads)
        spec = self.spec
        return predict_logits(
            self.network, images, spec.mean, spec.std, self.device, keep=self._scored
        )

    def _scored(self, logits: Float32Array) -> Float32Array:
        """[N, K + 1] of the logits [N, K] of the batch that the network saw last."""
        probabilities = softmax(logits, self.spec.temperature)
        if self._known is None:
            known = probabilities.max(axis=1)
        else:
            known = self._known(torch.from_numpy(logits)).cpu().numpy()
        return np.column_stack([probabilities, known])

    def seen(self, images: UInt8Array) -> tuple[Float32Array, Float32Array]:
        """Logits [N, K] and embeddings [N, D] of [N, S, S, C], both as the network gives them.

        Raises:
            UserError: the model is an ensemble, whose networks see each something else.
        """
        spec, every = self.spec, np.arange(len(images))
        if spec.name == "ensemble":
            raise UserError(f"{self.path} is an ensemble: name the model file of a member.")
        # What records belongs to the network: one thread at a time may ask.
        with self._turn, recorded_embeddings(self.network, every) as embeddings:
            logits = predict_logits(self.network, images, spec.mean, spec.std, self.device)
        return logits, embeddings()

    def heat(self, images: UInt8Array, targets: Sequence[int]) -> Float32Array | None:
        """Grad-CAM; None for a network without convolutions."""
        batch = torch.from_numpy(np.array(images)).to(self.device)
        batch = normalize(batch, self.spec.mean, self.spec.std)
        maps = grad_cam(self.network, batch, targets)
        return None if maps is None else maps.heat
