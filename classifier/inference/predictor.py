"""What every backend offers: probabilities, what is known, and heat maps where it can."""

from collections.abc import Sequence
from typing import Literal, Protocol

from classifier.core.types import Float32Array, UInt8Array
from classifier.models.spec import ModelSpec

BackendName = Literal["auto", "torch", "onnx"]


class Predictor(Protocol):
    """A model and what computes it. Several threads may call it at the same time."""

    backend: str
    spec: ModelSpec

    def probabilities(self, images: UInt8Array) -> Float32Array:
        """[N, K] after temperature scaling, of [N, S, S, C].

        The images are as `classifier.core.resize.to_array` gives them; S is ``spec.image_size``
        and C ``spec.channels``.
        """
        ...

    def scored(self, images: UInt8Array) -> Float32Array:
        """[N, K + 1]: the same, and how well each image is known, from the same pass.

        The last column is the score that ``spec.decision.known_by`` names, and the highest
        probability where it names none.
        """
        ...

    def heat(self, images: UInt8Array, targets: Sequence[int]) -> Float32Array | None:
        """[N, S, S] in 0..1, where the evidence for the target classes lies; None if unknown."""
        ...
