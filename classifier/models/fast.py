"""A small network that learns in few epochs: whitened patches, then groups of convolutions.

Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, https://arxiv.org/abs/2404.00498,
after Page, "How to train your ResNet", 2018, https://myrtle.ai/learn/how-to-train-your-resnet/.
Widths of 64, 256, 256 are the paper's; narrower ones suit a few CPU cores better. Its larger
network for 96 % has widths of 128, 384, 512 and three convolutions a group.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Interval, Len
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.errors import UserError
from classifier.models.base import ActivationName, Classifier, activation, halved, pooled_head
from classifier.models.convolution import Convolution

_LEAST_VARIANCE = 5e-4  # added to each eigenvalue, so that flat directions are not blown up


@dataclass(frozen=True)
class FastParams:
    """Settings under ``model.fast``."""

    widths: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1)] = (64, 128, 128)
    convolutions: Annotated[int, Interval(ge=2, le=3)] = 2
    patch: Annotated[int, Interval(ge=1, le=8)] = 2
    whiten: bool = True
    offset: Annotated[float, Ge(0)] = 0.0
    dirac: bool = True
    activation: ActivationName = "gelu"
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0


def fast(params: FastParams, classes: int, channels: int, image_size: int) -> Classifier:
    """Whitened patches, then one group for each width, which halves the maps; global max pool."""
    size = image_size - params.patch + 1
    if size < 1:
        raise UserError(
            f"model.fast.patch: {params.patch} is more than the images' {image_size} pixels"
        )
    whitening = Whitening(channels, params.patch, params.whiten, params.offset)
    stages: dict[str, nn.Module] = {
        "whitening": nn.Sequential(whitening, activation(params.activation))
    }
    inputs = whitening.outputs
    for number, width in enumerate(params.widths, start=1):
        pools = halved(size) < size
        stages[f"group{number}"] = group(params, inputs, width, pools)
        size, inputs = halved(size), width
    head = pooled_head(inputs, classes, params.dropout)
    head[0] = nn.AdaptiveMaxPool2d(1)
    return Classifier(stages, head)


def group(params: FastParams, inputs: int, width: int, pools: bool) -> nn.Sequential:
    """A convolution and pooling by 2, then one or two more; batch norm and activation after each.

    With two more, what the first one gave is added to what they give, before the last activation.
    """

    def normed(inputs: int, *between: nn.Module) -> list[nn.Module]:
        convolution = Convolution(inputs, width, pooled=bool(between))
        if params.dirac:  # filters hand their input on, so that it reaches the head from the start
            nn.init.dirac_(convolution.weight.data[:inputs])
        return [convolution, *between, nn.BatchNorm2d(width)]

    def act() -> nn.Module:
        return activation(params.activation)

    # Pooling before the norm leaves the norm a quarter to do.
    first = normed(inputs, *([nn.MaxPool2d(2)] if pools else []))
    if params.convolutions == 2:
        return nn.Sequential(*first, act(), *normed(width), act())
    rest = nn.Sequential(*normed(width), act(), *normed(width))
    return nn.Sequential(*first, act(), Residual(rest), act())


class Residual(nn.Module):
    """Adds its input to what its layers make of it."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, H, W] -> the same shape."""
        summed: Tensor = maps + self.layers(maps)
        return summed


class Whitening(nn.Module):
    """Projects each patch of pixels on the eigenvectors of the patches' covariance, both ways.

    Its outputs are uncorrelated and of unit variance on the pictures that it was fitted to, and
    what follows learns faster. Each eigenvector comes with its negative, as an activation follows.
    With an ``offset`` each output is moved by a number of its own, drawn between -offset and
    offset: the activation then bends each at another place. Jordan's network trains these;
    untrained ones do as well (benchmarks/fast.md), without the gradient that training them needs.
    All of it is in buffers: never trained, and part of the model file.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, channels: int, patch: int, fitted: bool = True, offset: float = 0.0) -> None:
        super().__init__()
        self.fitted = fitted
        self.outputs = 2 * channels * patch * patch
        basis = torch.linalg.qr(torch.randn(self.outputs // 2, self.outputs // 2)).Q
        self.register_buffer("weight", torch.empty(self.outputs, channels, patch, patch))
        self._set(basis)
        bias = torch.empty(self.outputs).uniform_(-offset, offset) if offset else None
        self.register_buffer("bias", bias)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, 2 · C · patch², H - patch + 1, W - patch + 1]."""
        return F.conv2d(images, self.weight, self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the weights from standardised images [N, C, H, W], float."""
        if not self.fitted:
            return
        patches = images.double()
        for axis in (2, 3):
            patches = patches.unfold(axis, self.weight.shape[-1], 1)
        patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, self.outputs // 2)
        values, vectors = torch.linalg.eigh(patches.T.cov().reshape(2 * (self.outputs // 2,)))
        self._set((vectors / (values.clamp(min=0) + _LEAST_VARIANCE).sqrt()).T.flip(0))

    def _set(self, basis: Tensor) -> None:
        rows = basis.to(self.weight).view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([rows, -rows]))

    def extra_repr(self) -> str:
        outputs, channels, patch, _ = self.weight.shape
        return f"{channels}, {outputs}, patch={patch}"
