"""A small network that learns in few epochs: whitened patches, then groups of convolutions.

Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, https://arxiv.org/abs/2404.00498,
after Page, "How to train your ResNet", 2018, https://myrtle.ai/learn/how-to-train-your-resnet/.
Widths of 64, 256, 256 are the paper's; narrower ones suit a few CPU cores better. Its larger
network for 96 % has widths of 128, 384, 512 and three convolutions a group.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.core.errors import UserError
from classifier.models.classifier import Classifier
from classifier.models.networks.convolution import Convolution
from classifier.models.networks.layers import (
    ActivationName,
    Dropout,
    Width,
    Widths,
    activation,
    halved,
    pooled_head,
)

_LEAST_VARIANCE = 5e-4  # added to each eigenvalue, so that flat directions are not blown up
_PATCH_BYTES = 1 << 28  # of patches that are held at a time


@dataclass(frozen=True)
class FastParams:
    """Settings under ``model.fast``."""

    widths: Widths = (64, 128, 128)
    convolutions: Annotated[int, Interval(ge=2, le=3)] = 2
    patch: Annotated[int, Interval(ge=1, le=8)] = 2
    directions: Width | None = None
    whiten: bool = True
    offset: Annotated[float, Interval(ge=-100, le=100)] = 0.0
    dirac: bool = True
    activation: ActivationName = "gelu"
    dropout: Dropout = 0.0


@dataclass(frozen=True)
class _Moments:
    """Of rows: number, mean [P], and sum of the products of the deviations from it [P, P]."""

    count: int
    mean: Tensor
    scatter: Tensor

    @staticmethod
    def of(rows: Tensor) -> "_Moments":
        """Of rows [N, P]."""
        columns = rows.T
        mean = columns.sum(1) / len(rows)
        columns = columns - mean[:, None]
        return _Moments(len(rows), mean, columns @ columns.T)

    def joined(self, other: "_Moments") -> "_Moments":
        """Of the rows of both.

        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances", 1979.
        """
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = torch.outer(apart, apart) * (self.count * other.count / count)
        return _Moments(count, mean, self.scatter + other.scatter + between)


def fast(params: FastParams, classes: int, channels: int, image_size: int) -> Classifier:
    """Whitened patches, then one group for each width, which halves the maps; global max pool."""
    size = image_size - params.patch + 1
    if size < 1:
        raise UserError(
            f"model.fast.patch: {params.patch} is more than the images' {image_size} pixels"
        )
    whitening = Whitening(
        channels, params.patch, params.directions, fitted=params.whiten, offset=params.offset
    )
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
    """Projects each patch of pixels on eigenvectors of the patches' covariance, both ways.

    Its outputs are uncorrelated and of unit variance on the images that it was fitted to, and
    what follows learns faster. Each eigenvector comes with its negative, as an activation follows.
    All of it is in buffers: never trained, and part of the model file.

    Args:
        directions: how many of the channels · patch² eigenvectors are kept, those of the largest
            variance first; None for all of them. The last ones of photographs hold little but the
            noise of their compression, which unit variance would blow up.
        fitted: False for random directions, which `fit` leaves alone.
        offset: added to each output, so that the activation bends beside zero, where most outputs
            are. Jordan's network trains such a bias; one that is trained does no better here
            (benchmarks/fast.md) and needs the gradient of the largest convolution.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        channels: int,
        patch: int,
        directions: int | None = None,
        *,
        fitted: bool = True,
        offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.fitted = fitted
        values = channels * patch * patch
        self.outputs = 2 * min(directions or values, values)
        self.register_buffer("weight", torch.empty(self.outputs, channels, patch, patch))
        self._set(torch.linalg.qr(torch.randn(values, values)).Q)
        self.register_buffer("bias", torch.full((self.outputs,), offset) if offset else None)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, outputs, H - patch + 1, W - patch + 1]."""
        return F.conv2d(images, self.weight, self.bias)

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Take the weights from standardized images, float, batches of [N, C, H, W]."""
        if not self.fitted:
            return
        found: _Moments | None = None
        for images in batches:
            size = 8 * self.weight[0].numel() * images[0, 0].numel()  # bytes of an image's patches
            for part in images.split(max(1, _PATCH_BYTES // size)):
                moments = _Moments.of(self._patches(part))
                found = moments if found is None else found.joined(moments)
        assert found is not None, "no image to fit to"
        values, vectors = torch.linalg.eigh(found.scatter / max(1, found.count - 1))
        self._set((vectors / (values.clamp(min=0) + _LEAST_VARIANCE).sqrt()).T.flip(0))

    def _patches(self, images: Tensor) -> Tensor:
        """Each patch of pixels as a row, double."""
        patches = images.double()
        for axis in (2, 3):
            patches = patches.unfold(axis, self.weight.shape[-1], 1)
        return patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)

    def _set(self, basis: Tensor) -> None:
        rows = basis[: self.outputs // 2].to(self.weight).view(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([rows, -rows]))

    def extra_repr(self) -> str:
        outputs, channels, patch, _ = self.weight.shape
        return f"{channels}, {outputs}, patch={patch}"
