"""Files of a library's weights as `python -m classifier weights` writes them."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from classifier.core.pretrained import Input, Weights
from classifier.core.resize import Resize
from classifier.weights.convert import write

INPUT = Input(224, Resize("crop", "bicubic", 0.875), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def weights_file(path: Path, name: str, state: Mapping[str, Tensor], seen: Input = INPUT) -> str:
    """Write a state dict of the library's own ``name``; returns the path."""
    write(path, state, Weights(name, seen, "made up", "0" * 64))
    return str(path)
