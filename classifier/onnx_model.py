"""Exported ONNX files on ONNX Runtime: they describe themselves in their metadata."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classifier.array_types import Float32Array, UInt8Array
from classifier.errors import UserError
from classifier.extras import not_installed
from classifier.modelfile import ModelSpec, described, from_description

INPUT, OUTPUT = "images", "probabilities"
_SPEC, _CLASSES, _METRICS = "spec", "classes", "metrics"


def metadata(spec: ModelSpec, metrics: Mapping[str, Any]) -> dict[str, str]:
    """What an ONNX file says of itself: JSON texts by key, the same for the same model."""
    content = {_SPEC: described(spec), _CLASSES: list(spec.classes), _METRICS: metrics}
    return {
        key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in content.items()
    }


class OnnxPredictor:
    """An exported model on ONNX Runtime's CPU provider."""

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
        name = "the model" if isinstance(source, bytes) else str(source)
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
        described = self._session.get_modelmeta().custom_metadata_map
        try:
            content = json.loads(described[_SPEC])
            self.spec = from_description(content)
            self.metrics: dict[str, Any] = json.loads(described[_METRICS])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(
                f"{name}: an ONNX file, but not one that python -m classifier export wrote."
            ) from None

    def probabilities(self, images: UInt8Array) -> Float32Array:
        """[N, K] of uint8 images [N, H, W, C] of any one size: the graph resizes them."""
        (found,) = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})
        return found

    def heat(self, images: UInt8Array, targets: Sequence[int]) -> Float32Array | None:
        """None: ONNX Runtime computes no gradients."""
        return None
