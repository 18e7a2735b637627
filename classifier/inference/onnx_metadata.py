"""What an exported ONNX file says of itself, and the names of its input and outputs."""

import json
from collections.abc import Mapping
from typing import Any

from classifier.core.errors import UserError
from classifier.models.spec import ModelSpec, described, from_description

INPUT, OUTPUT = "images", "probabilities"
KNOWN = "known"  # a second output where more than the probabilities says what is of no class


def outputs(spec: ModelSpec) -> list[str]:
    """The names of what the graph of a model gives."""
    by_more = spec.decision is not None and spec.decision.known_by in ("energy", "distance")
    return [OUTPUT, KNOWN] if by_more else [OUTPUT]


def metadata(spec: ModelSpec, metrics: Mapping[str, Any], model: str = "") -> dict[str, str]:
    """What an ONNX file says of itself: JSON texts by key, the same for the same model.

    Args:
        model: the SHA-256 of the model file that it was made from.
    """
    content = {"spec": described(spec), "classes": list(spec.classes), "metrics": metrics}
    content |= {"model": model} if model else {}
    return {
        key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in content.items()
    }


def from_metadata(texts: Mapping[str, str]) -> tuple[ModelSpec, dict[str, Any]]:
    """The spec and the metrics that `metadata` gave.

    Raises:
        ValueError: some other program wrote these texts.
    """
    try:
        spec, metrics = from_description(json.loads(texts["spec"])), json.loads(texts["metrics"])
        if not isinstance(metrics, dict):
            raise ValueError("metrics are a mapping")
        return spec, metrics
    except (KeyError, RecursionError, TypeError, UserError) as error:
        raise ValueError(f"not the metadata of this project: {error}") from None
