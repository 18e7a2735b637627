"""A trained model ready to answer, whatever computes it: uint8 images in, probabilities out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from classifier.array_types import Float32Array, UInt8Array
from classifier.errors import UserError
from classifier.memory import keep_large_buffers
from classifier.modelfile import ModelSpec
from classifier.modelfile import load as load_model
from classifier.softmax import softmax

if TYPE_CHECKING:
    from classifier.onnx_model import OnnxPredictor

BackendName = Literal["auto", "torch", "onnx"]


class Predictor(Protocol):
    """A model and what computes it. Several threads may call it at the same time."""

    backend: str
    spec: ModelSpec

    def probabilities(self, images: UInt8Array) -> Float32Array:
        """[N, K] after temperature scaling, of [N, S, S, C] as `classifier.images.to_array` gives.

        S is ``spec.image_size`` and C ``spec.channels``.
        """
        ...

    def heat(self, images: UInt8Array, targets: Sequence[int]) -> Float32Array | None:
        """[N, S, S] in 0..1, where the evidence for the target classes lies; None if unknown."""
        ...


class TorchPredictor:
    """A model file on torch, in float32: what the stage ``evaluate`` computes."""

    backend = "torch"

    def __init__(self, path: str | Path, device: str = "auto", threads: int = 0) -> None:
        """Load a model file; one call computes on ``threads`` cores, 0 for torch's own choice."""
        from classifier.device import choose_device

        self.device = choose_device(device)
        self.threads = threads
        self.network, self.spec = load_model(path, str(self.device))

    def probabilities(self, images: UInt8Array) -> Float32Array:
        """Softmax of the logits, divided by the temperature."""
        import torch

        from classifier.batches import predict_logits

        if self.threads:  # holds for the calling thread
            torch.set_num_threads(self.threads)
        spec = self.spec
        logits = predict_logits(self.network, images, spec.mean, spec.std, self.device)
        return softmax(logits, spec.temperature)

    def heat(self, images: UInt8Array, targets: Sequence[int]) -> Float32Array | None:
        """Grad-CAM; None for a network without convolutions."""
        import torch

        from classifier.batches import normalize
        from classifier.explain import grad_cam

        batch = torch.from_numpy(np.array(images)).to(self.device)
        batch = normalize(batch, self.spec.mean, self.spec.std)
        maps = grad_cam(self.network, batch, targets)
        return None if maps is None else maps.heat


def open_predictor(
    path: str | Path, backend: BackendName = "auto", threads: int = 0
) -> "Predictor":
    """Open a model file of this project (torch) or an exported ONNX file (ONNX Runtime).

    ``backend="onnx"`` with a model file converts it in memory first. ``threads`` is how many cores
    one call takes, 0 for all.

    Raises:
        UserError: no such file, not such a file, ONNX Runtime is missing, or torch was asked for
            an ONNX file.
    """
    keep_large_buffers()
    if Path(path).suffix == ".onnx":
        if backend == "torch":
            raise UserError(f"{path}: an ONNX file cannot run on torch: name a .safetensors file.")
        return _onnx(path, threads)
    if backend == "onnx":
        from classifier.export import onnx_bytes

        network, spec = load_model(path)
        return _onnx(onnx_bytes(network, spec, {}), threads)
    return TorchPredictor(path, threads=threads)


def _onnx(source: str | Path | bytes, threads: int) -> "OnnxPredictor":
    from classifier.onnx_model import OnnxPredictor

    return OnnxPredictor(source, threads)
