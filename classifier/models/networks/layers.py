"""Layers, heads and first weights that several networks share."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, get_args

from annotated_types import Interval, Len
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.core.errors import UserError

# What settings may be. The upper bounds are far above what anybody trains: they stop a slip of the
# pen, and a model file of unknown origin, before they cost memory or time.
Width = Annotated[int, Interval(ge=1, le=65536)]
Widths = Annotated[tuple[Width, ...], Len(1, 64)]
Count = Annotated[int, Interval(ge=1, le=1000)]
Factor = Annotated[float, Interval(gt=0, le=100)]
Kernel = Annotated[int, Interval(ge=1, le=63)]
Dropout = Annotated[float, Interval(ge=0, lt=1)]

ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "gelu": nn.GELU,
    "silu": lambda: nn.SiLU(inplace=True),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation(name: str) -> nn.Module:
    """A new activation layer. ``name`` is one of ``ActivationName``."""
    assert set(_ACTIVATIONS) == set(get_args(ActivationName))
    return _ACTIVATIONS[name]()


def halved(size: int) -> int:
    """The side of a map after a stride or pool of 2, which is only done from 4 pixels on.

    Networks made for large images would otherwise shrink small ones to nothing: an 8×8 digit
    keeps at least a 2×2 map, which batch norm can also still train on one image at a time.
    """
    return size // 2 if size >= 4 else size


def conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Convolution with 'same' padding, batch norm and ReLU."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


class FlattenMaps(nn.Flatten):
    """Flatten maps [N, C, size, size], for a Linear that has a weight for each of their pixels.

    Maps of another size, which images of another size have, are brought to it first: each pixel is
    the average of those in its place.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C · size · size]."""
        if maps.shape[-2:] != (self.size, self.size):
            maps = F.adaptive_avg_pool2d(maps, self.size)
        return super().forward(maps)


def pooled_head(features: int, classes: int, dropout: float = 0.0) -> nn.Sequential:
    """Global average pooling, dropout if any, and the last Linear."""
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *drop, nn.Linear(features, classes))


def dense_head(
    features: int, hidden: Sequence[int], classes: int, dropout: float, act: str = "relu"
) -> list[nn.Module]:
    """Linear layers, each hidden one followed by its activation and dropout, and the last one."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(features, units), activation(act)]
        layers += [nn.Dropout(dropout)] if dropout else []
        features = units
    return [*layers, nn.Linear(features, classes)]


def he_initialize(network: nn.Module) -> None:
    """Draw weights that keep the signal's variance through ReLU layers, norm or no norm.

    He et al., "Delving deep into rectifiers", 2015, https://arxiv.org/abs/1502.01852.
    torch's own default shrinks it in every layer: a VGG-19 without batch norm would not learn.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def transformer_initialize(network: nn.Module) -> None:
    """Normal weights of deviation 0.02, zero biases: what ViT and ConvNeXt start from."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def require_size(name: str, image_size: int, minimum: int) -> None:
    """Raise UserError if images are smaller than the network can take."""
    if image_size < minimum:
        raise UserError(
            f"model.name: {name} needs images of at least {minimum}×{minimum} pixels, these have "
            f"{image_size}×{image_size}; raise preprocess.image_size or model.input_size"
        )
