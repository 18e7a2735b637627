"""Write and load the model file: weights and their description, see `spec`, in one file."""

import json
from collections.abc import Mapping
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

    weights = stored_weights(network)
    content = {"format": FORMAT, **described(spec)}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, {METADATA_KEY: text}))


def stored_weights(network: "nn.Module") -> dict[str, "Tensor"]:
    """The tensors of a network by name, on the CPU, as safetensors takes them.

    What two modules share stands under both names: safetensors stores no such relations.
    """
    weights: dict[str, Tensor] = {}
    places = set()
    for name, tensor in network.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        shared = stored.numel() > 0 and stored.data_ptr() in places
        places.add(stored.data_ptr())
        weights[name] = stored.clone() if shared else stored
    return weights


def load(path: PathLike, device: str = "cpu") -> tuple["Classifier", ModelSpec]:
    """Rebuild the network of a model file on ``device``, in eval mode.

    Raises:
        UserError: no such file, not a model file, or weights that do not fit their spec.
    """
    import torch

    spec = checked_spec(path)
    with torch.random.fork_rng():  # the discarded first weights must not move the caller's state
        network = _built(path, spec)
    network.load_state_dict(read_weights(path))
    return network.to(device).eval(), spec


def checked_spec(path: PathLike) -> ModelSpec:
    """The spec of a file whose header has the shapes of the network that it describes.

    A file of unknown origin may describe a network of any size: neither weights nor a network take
    memory here.

    Raises:
        UserError: no such file, not a model file, or weights that do not fit their spec.
    """
    import torch

    from classifier.models.registry import COMPUTES

    spec = read_spec(path)
    with (
        torch.random.fork_rng(),
        torch.device("cpu" if spec.name.startswith(COMPUTES) else "meta"),
    ):
        expected = _built(path, spec).state_dict()
    _check_fit(path, spec, {name: tuple(value.shape) for name, value in expected.items()})
    return spec


def _built(path: PathLike, spec: ModelSpec) -> "Classifier":
    from classifier.models.known import placeholder
    from classifier.models.registry import build

    try:
        network = build(spec.name, spec.args, **spec.sizes)
        placeholder(network, spec.decision)
        return network
    except UserError as error:
        raise damaged(path, str(error).rstrip(".")) from None
    # Settings may each be what they should and make no network together.
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise damaged(path, f"no network can be made of its settings: {error}") from None


def _check_fit(path: PathLike, spec: ModelSpec, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise UserError where the file's tensors do not have these shapes; reads its header alone."""
    import safetensors

    with safetensors.safe_open(path, framework="numpy") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    names = sorted({*expected, *found})
    if wrong := next((name for name in names if expected.get(name) != found.get(name)), None):
        reason = f"{wrong}: {_shape(found, wrong)}, not {_shape(expected, wrong)}"
        raise UserError(
            f"{path}: its weights do not fit the network {spec.name!r} of this version of the "
            f"project ({reason}): use the version that trained it, or train again"
        )


def _shape(shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    return "×".join(map(str, shapes[name])) or "one value" if name in shapes else "absent"


def read_weights(path: PathLike) -> dict[str, "Tensor"]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        UserError: not such a file, or one whose values are not all finite.
    """
    import safetensors
    import safetensors.torch

    try:
        weights = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise damaged(path, str(error)) from None
    if any(not value.isfinite().all() for value in weights.values()):
        raise damaged(path, "some of its weights are no numbers")
    return weights
