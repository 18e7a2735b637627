"""Open a model on the backend that suits it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.core.errors import UserError
from classifier.inference.predictor import BackendName, Predictor
from classifier.models.decision import Decision
from classifier.models.model_file import load as load_model

if TYPE_CHECKING:
    from classifier.inference.onnx_backend import OnnxPredictor


def open_predictor(
    path: str | Path,
    backend: BackendName = "auto",
    threads: int = 0,
    decision: Decision | None = None,
) -> "Predictor":
    """Open a model file of this project (torch) or an exported ONNX file (ONNX Runtime).

    ``backend="onnx"`` with a model file converts it in memory first. ``threads`` is how many cores
    one call takes, 0 for all. ``decision`` takes the place of what the file says of itself.

    Raises:
        UserError: no such file, not such a file, ONNX Runtime is missing, or torch was asked for
            an ONNX file.
    """
    predictor = _opened(path, backend, threads)
    if decision is not None:
        decision.check(predictor.spec.classes)
        predictor.spec = replace(predictor.spec, decision=decision)
    return predictor


def _opened(path: str | Path, backend: BackendName, threads: int) -> Predictor:
    if Path(path).suffix == ".onnx":
        if backend == "torch":
            raise UserError(f"{path}: an ONNX file cannot run on torch: name a .safetensors file.")
        return _onnx(path, threads)
    if backend == "onnx":
        from classifier.inference.export import onnx_bytes

        network, spec = load_model(path)
        return _onnx(onnx_bytes(network, spec, {}), threads)
    from classifier.inference.torch_backend import TorchPredictor

    return TorchPredictor(path, threads=threads)


def _onnx(source: str | Path | bytes, threads: int) -> "OnnxPredictor":
    from classifier.inference.onnx_backend import OnnxPredictor

    return OnnxPredictor(source, threads)
