"""Open a model on the backend that suits it."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from classifier.core.errors import UserError
from classifier.core.files import sha256
from classifier.inference.onnx_metadata import outputs
from classifier.inference.predictor import BackendName, Predictor
from classifier.models.decision import Decision

if TYPE_CHECKING:
    from classifier.inference.onnx_backend import OnnxPredictor


def open_predictor(
    path: str | Path,
    backend: BackendName = "auto",
    threads: int = 0,
    decision: Decision | None = None,
) -> "Predictor":
    """Open a model file of this project (torch) or an exported ONNX file (ONNX Runtime).

    ``backend="auto"`` takes torch for a model file; `exported` finds what starts faster.
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


def exported(path: Path, decision: Decision | None) -> Path | None:
    """The ONNX file beside a model file that was made from it and answers alike, if there is one.

    ONNX Runtime starts in a fraction of the time that importing torch takes. A file of another
    model is said to be one.
    """
    place = path.with_suffix(".onnx")
    if path.suffix != ".safetensors" or not place.is_file():
        return None
    try:
        found = _onnx(place, 1)
    except UserError:  # without ONNX Runtime, or damaged: the model file does
        return None
    if found.model != sha256(path):
        print(
            f"{place} was not made from {path}: python -m classifier export makes it anew, and"
            " answers come sooner with it.",
            file=sys.stderr,
        )
        return None
    wanted = found.spec if decision is None else replace(found.spec, decision=decision)
    return place if outputs(wanted) == outputs(found.spec) else None


def _opened(path: str | Path, backend: BackendName, threads: int) -> Predictor:
    if Path(path).suffix == ".onnx":
        if backend == "torch":
            raise UserError(f"{path}: an ONNX file cannot run on torch: name a .safetensors file.")
        return _onnx(path, threads)
    if backend == "onnx":
        from classifier.inference.export import onnx_bytes
        from classifier.models.model_file import load

        network, spec = load(path)
        return _onnx(onnx_bytes(network, spec, {}), threads)
    from classifier.inference.torch_backend import TorchPredictor

    return TorchPredictor(path, threads=threads)


def _onnx(source: str | Path | bytes, threads: int) -> "OnnxPredictor":
    from classifier.inference.onnx_backend import OnnxPredictor

    return OnnxPredictor(source, threads)
