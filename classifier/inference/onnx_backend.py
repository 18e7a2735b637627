"""Exported ONNX files on ONNX Runtime."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifier.core.errors import UserError, not_installed
from classifier.core.types import Float32Array, UInt8Array
from classifier.inference.onnx_metadata import INPUT, KNOWN, from_metadata, outputs


class OnnxPredictor:
    """An exported model on ONNX Runtime's CPU provider.

    Attributes:
        model: the SHA-256 of the model file that it was made from, "" where it does not say.
    """

    backend = "onnx"

    def __init__(self, source: str | Path | bytes, threads: int = 0) -> None:
        """Open a file, or the bytes of one; ``threads`` 0 takes as many as there are cores.

        Raises:
            UserError: ONNX Runtime is missing, no such file, or not one that this project wrote.
        """
        try:
            import onnxruntime
        except ImportError:
            raise not_installed("onnxruntime", "export") from None
        self._name = name = "the model" if isinstance(source, bytes) else str(source)
        if not isinstance(source, bytes) and not Path(source).is_file():
            raise UserError(f"{name} does not exist: run python -m classifier export first.")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                source if isinstance(source, bytes) else str(source),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # ONNX Runtime has an exception class for every kind of damage
            reason = str(error).splitlines()[0]
            raise UserError(f"{name}: not an ONNX file, or damaged ({reason}).") from None
        try:
            texts = self._session.get_modelmeta().custom_metadata_map
            self.spec, self.metrics = from_metadata(texts)
            self.model = str(json.loads(texts.get("model", '""')))
        except ValueError:
            raise UserError(
                f"{name}: an ONNX file, but not one that python -m classifier export wrote."
            ) from None
        self._outputs = outputs(self.spec)
        size = self.spec.image_size
        blank = np.zeros((1, size, size, self.spec.channels), np.uint8)
        found = self.scored(blank)
        if found.shape != (1, len(self.spec.classes) + 1) or not np.isfinite(found).all():
            raise UserError(
                f"{name}: its graph gives no probability for each of its {len(self.spec.classes)} "
                "classes: export it again."
            )

    def probabilities(self, images: UInt8Array) -> Float32Array:
        """[N, K] of uint8 images [N, H, W, C] of any one size: the graph resizes them.

        Raises:
            UserError: the graph is none that `export` writes, or takes more memory than there is.
        """
        return self.scored(images)[:, :-1]

    def scored(self, images: UInt8Array) -> Float32Array:
        """The same, and how well each image is known; UserError likewise."""
        try:
            found = self._session.run(self._outputs, {INPUT: np.ascontiguousarray(images)})
            known = found[1] if KNOWN in self._outputs else found[0].max(axis=1)
            scored: Float32Array = np.column_stack([found[0], known])
        except Exception as error:  # of ONNX Runtime, which has a class for every kind
            reason = str(error).splitlines()[0]
            raise UserError(f"{self._name}: its graph cannot be computed ({reason}).") from None
        return scored

    def heat(self, images: UInt8Array, targets: Sequence[int]) -> Float32Array | None:
        """None: ONNX Runtime computes no gradients."""
        return None
