"""Model files whose numbers are finite one by one, and whose probabilities are not."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.inference.torch_backend import TorchPredictor
from classifier.models import model_file
from classifier.models.registry import build
from classifier.models.spec import ModelSpec

SPEC = ModelSpec("mlp", {}, ("a", "b"), 1, 8, Resize(), (0.5,), (0.25,))


def saved(path: Path, weight: float | None = None, **changes: Any) -> Path:
    spec = dataclasses.replace(SPEC, **changes)
    network = build(spec.name, spec.args, **spec.sizes)
    if weight is not None:
        with torch.no_grad():
            for values in network.parameters():
                values.fill_(weight)
    model_file.save(path / "model.safetensors", network, spec)
    return path / "model.safetensors"


@pytest.mark.filterwarnings("error")  # nor do NumPy's warnings go with the sentence
@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (1e308,)},
        {"mean": (-1e39,)},
        {"std": (1e-300,)},
        {"std": (1e-40,)},
        {"temperature": 1e-300},
        {"weight": 3e38},
    ],
    ids=str,
)
def test_a_model_that_gives_no_probabilities_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = saved(tmp_path, **changes)
    with pytest.raises(UserError, match="gives no probabilities"):
        TorchPredictor(path, "cpu")


@pytest.mark.parametrize("changes", [{}, {"std": (1e6,)}, {"temperature": 20.0}], ids=str)
def test_a_model_that_does_is_taken(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert TorchPredictor(saved(tmp_path, **changes), "cpu").spec.classes == ("a", "b")
