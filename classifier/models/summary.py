"""What a network is made of: each layer's output shape, parameters and multiply-adds."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from classifier.models.classifier import Classifier


@dataclass(frozen=True)
class Layer:
    """One row of the table. Counts are the layer's own: rows of a table add up to its totals.

    ``output``: shape for one image, without the batch dimension. ``multiply_adds``: of matrix
    products and convolutions, for one image.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


def summarize(network: nn.Module, channels: int, image_size: int) -> list[Layer]:
    """Run one empty image through ``network`` and record its layers in the order they run.

    A layer is a module without submodules that ran, or one with parameters or products of its own
    beside theirs (attention). A network that answers by several views of an image is shown one.
    Mode, weights and random state stay as they are. The network may be on any device, ``meta``
    included, where nothing is computed.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    modules = {name: module for name, module in network.named_modules() if name}
    hooks = [_record_output(name, module, shapes) for name, module in modules.items()]
    counter = FlopCounterMode(display=False)
    weight = next(network.parameters())
    image = torch.zeros(1, channels, image_size, image_size, device=weight.device)
    views = network.test_time_augmentation if isinstance(network, Classifier) else "none"
    training = {module: module.training for module in network.modules()}
    # Attention's fused fast path hides its products from the counter.
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        network.eval()
        if isinstance(network, Classifier):
            network.test_time_augmentation = "none"
        with torch.no_grad(), counter:
            network(image.to(weight.dtype))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for hook in (hook for pair in hooks for hook in pair):
            hook.remove()
        if isinstance(network, Classifier):
            network.test_time_augmentation = views
        for module, mode in training.items():
            module.training = mode
    return _layers(network, modules, shapes, counter)


def count_parameters(network: nn.Module, trainable: bool = False) -> int:
    """Number of weights, or of those only that training would change now."""
    parameters = (p for p in network.parameters() if p.requires_grad or not trainable)
    return sum(parameter.numel() for parameter in parameters)


def summary(name: str, network: nn.Module, channels: int, image_size: int) -> dict[str, Any]:
    """The content of models/summary.json."""
    layers = summarize(network, channels, image_size)
    return {
        "name": name,
        "parameters": sum(layer.parameters for layer in layers),
        "multiply_adds": sum(layer.multiply_adds for layer in layers),
        "layers": [{**vars(layer), "output": list(layer.output)} for layer in layers],
    }


def _record_output(name: str, module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> Any:
    def start(*_: Any) -> None:
        shapes.setdefault(name, ())  # a dict keeps the order in which modules start to run

    def finish(_module: nn.Module, _inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        shapes[name] = tuple(first.shape[1:]) if isinstance(first, Tensor) else ()

    return module.register_forward_pre_hook(start), module.register_forward_hook(finish)


def _layers(
    network: nn.Module,
    modules: dict[str, nn.Module],
    shapes: dict[str, tuple[int, ...]],
    counter: FlopCounterMode,
) -> list[Layer]:
    root = type(network).__name__
    counts = counter.get_flop_counts()
    # name -> [parameters, multiply-adds], of the whole subtree; then minus the rows below it
    own = {
        name: [count_parameters(modules[name]), sum(counts.get(f"{root}.{name}", {}).values()) // 2]
        for name in shapes
    }
    total = {name: tuple(pair) for name, pair in own.items()}
    parents = set()
    for name in shapes:
        above = name
        while "." in above:
            above = above.rpartition(".")[0]
            if above in own:
                own[above][0] -= total[name][0]
                own[above][1] -= total[name][1]
                parents.add(above)
                break
    return [
        Layer(name, type(modules[name]).__name__, shapes[name], own[name][0], own[name][1])
        for name in shapes
        if any(own[name]) or (name not in parents and not isinstance(modules[name], nn.Identity))
    ]
