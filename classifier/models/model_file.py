"""Write and load the model file: weights and their description, see `spec`, in one file."""

import json
from typing import TYPE_CHECKING

from classifier.core.errors import UserError
from classifier.core.files import replacing
from classifier.models.spec import (
    FORMAT,
    METADATA_KEY,
    ModelSpec,
    PathLike,
    damaged,
    described,
    read_spec,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from classifier.models.classifier import Classifier


def save(path: PathLike, network: "nn.Module", spec: ModelSpec) -> None:
    """Write weights and spec; the same inputs give the same bytes, and a kill leaves no half file.

    Weights are stored on the CPU, in the precision that they have.
    """
    import safetensors.torch

    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    content = {"format": FORMAT, **described(spec)}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, {METADATA_KEY: text}))


def load(path: PathLike, device: str = "cpu") -> tuple["Classifier", ModelSpec]:
    """Rebuild the network of a model file on ``device``, in eval mode.

    Raises:
        UserError: no such file, not a model file, or weights that do not fit their spec.
    """
    import torch

    from classifier.models.registry import build

    spec = read_spec(path)
    with torch.random.fork_rng():  # the discarded first weights must not move the caller's state
        network = build(spec.name, spec.args, **spec.sizes)
    try:
        network.load_state_dict(read_weights(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{path}: its weights do not fit the network {spec.name!r} of this version of the "
            f"project ({reason}): use the version that trained it, or train again"
        ) from None
    return network.to(device).eval(), spec


def read_weights(path: PathLike) -> dict[str, "Tensor"]:
    """The tensors of a safetensors file by name, on the CPU."""
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise damaged(path, str(error)) from None
