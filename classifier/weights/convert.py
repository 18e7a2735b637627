"""Check weights, and write them as the safetensors file that training starts from."""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from classifier.core.errors import UserError
from classifier.core.files import replacing, write_json
from classifier.core.pretrained import WEIGHTS_KEY, Weights, weights_json
from classifier.models.networks import timm, torchvision


def read_state(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by the names that it has for them; runs no code from it.

    Safetensors, or a state dict that torch has saved; in a checkpoint of timm or of other trainers,
    the averaged weights where there are some.

    Raises:
        UserError: there is none, or it is damaged or of another kind.
    """
    from timm.models import load_state_dict

    if not path.is_file():
        raise UserError(f"{path} does not exist: give the path of a file of weights")
    try:
        state = load_state_dict(str(path), weights_only=True)
    except Exception:  # a damaged file may make torch raise anything, from KeyError to MemoryError
        raise UserError(
            f"{path} is no safetensors file, nor one of weights alone that torch.load can read, or "
            "is damaged"
        ) from None
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} does not hold a state dict: save one of those")
    if any(not value.isfinite().all() for value in state.values()):
        raise UserError(f"{path}: some of its weights are no numbers")
    return dict(state)


def check(name: str, state: Mapping[str, Tensor], image_size: int) -> None:
    """Raise UserError unless the weights are those of the network, by all names and shapes.

    Training takes them in the same way.
    """
    library, _, network = name.partition("/")
    adopt = {"timm": timm.adopt, "torchvision": torchvision.adopt}[library]
    adopt(network, state, image_size)


def write(path: Path, state: Mapping[str, Tensor], weights: Weights) -> None:
    """Write the file, and beside it what its header says; the same weights give the same bytes."""
    content = weights_json(weights)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # Weights that two layers share are written twice: safetensors knows no others.
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors, {WEIGHTS_KEY: text}))
    write_json(path.with_suffix(".json"), content)
