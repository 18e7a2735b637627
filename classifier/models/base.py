"""What every network has in common: a backbone of named stages and a head that ends in a Linear."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.errors import UserError

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


TestTimeAugmentation = Literal["none", "mirror", "mirror_shift"]


def weighted_views(
    images: Tensor, augmentation: TestTimeAugmentation
) -> Iterator[tuple[float, Tensor]]:
    """Views of images [N, C, H, W] and their weights, which add up to 1; one at a time.

    ``mirror``: the images and their mirror images. ``mirror_shift``: half of the weight on these,
    the other half on both, moved by 1/32 of the side down to the right and up to the left (Jordan
    2024, https://arxiv.org/abs/2404.00498). The images themselves come last: that is what hooks on
    layers then have seen.
    """
    weight = 1.0 if augmentation == "none" else 0.5
    if augmentation == "mirror_shift":
        height, width = images.shape[2:]
        by = max(1, round(max(height, width) / 32))
        padded = F.pad(images, (by, by, by, by), mode="reflect")
        for moved in (padded[..., :height, :width], padded[..., -height:, -width:]):
            yield 0.125, moved.flip(-1)
            yield 0.125, moved
        del padded, moved
        weight = 0.25
    if augmentation != "none":
        yield weight, images.flip(-1)
    yield weight, images


class _Reached(Exception):  # noqa: N818
    """Ends a forward pass at a layer; holds what the layer was given."""


class Classifier(nn.Module):
    """A network in two parts, so that freezing, Grad-CAM and embeddings need no special cases.

    ``backbone``: a Sequential of named stages; a convolutional stage returns maps [N, C, H, W].
    ``head``: pooling, perhaps hidden layers, and a last ``nn.Linear``.
    Input: standardized floats [N, channels, H, W]; output: logits [N, classes].
    ``test_time_augmentation``: what the logits are the mean of, but in training; see
    `weighted_views`.
    """

    def __init__(
        self,
        backbone: Mapping[str, nn.Module],
        head: nn.Module,
        test_time_augmentation: TestTimeAugmentation = "none",
    ) -> None:
        super().__init__()
        self.backbone = nn.Sequential(OrderedDict(backbone))
        self.head = head
        self.test_time_augmentation = test_time_augmentation

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of standardized images [N, channels, H, W]."""
        if self.training or self.test_time_augmentation == "none":
            logits: Tensor = self.head(self.backbone(images))
            return logits
        parts = weighted_views(images, self.test_time_augmentation)
        return torch.stack(
            [fraction * self.head(self.backbone(view)) for fraction, view in parts]
        ).sum(0)

    @torch.no_grad()
    def fit(self, batches: Callable[[], Iterable[Tensor]]) -> None:
        """Let layers that take their first weights from data, by a method ``fit``, do so.

        One layer after the other is given what reaches it, batch by batch. Called once, before
        training from scratch, and never changed by loading a model.

        Args:
            batches: begins anew with standardized floats [N, channels, H, W]; not called, and so
                nothing is read, where no layer asks for data.
        """
        self.eval()
        asking: list[Any] = [part for part in self.backbone.modules() if hasattr(part, "fit")]
        for layer in asking:
            layer.fit(self._reaching(layer, images) for images in batches())

    def _reaching(self, layer: nn.Module, images: Tensor) -> Tensor:
        """What a layer is given for these images; it and all behind it do not compute."""

        def stop(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            raise _Reached(inputs[0])

        hook = layer.register_forward_pre_hook(stop)
        try:
            self.backbone(images)
        except _Reached as reached:
            given: Tensor = reached.args[0]
            return given
        finally:
            hook.remove()
        raise AssertionError("the backbone does not use the layer")

    @property
    def last_linear(self) -> nn.Linear:
        """The layer that makes the logits; its input is the image's embedding."""
        return [module for module in self.head.modules() if isinstance(module, nn.Linear)][-1]

    def train(self, mode: bool = True) -> "Classifier":
        """Switch to training, except for frozen stages: their batch statistics stay as learnt."""
        super().train(mode)
        if mode:
            for stage in (*self.backbone, self.head):
                parameters = list(stage.parameters())
                if parameters and not any(parameter.requires_grad for parameter in parameters):
                    stage.eval()
        return self


class Entry(nn.Module):
    """Turn prepared images into what pretrained weights were trained on. Has no weights.

    Resizes to ``size`` × ``size`` pixels (bilinear, antialiased when shrinking); if ``mean`` and
    ``std`` are given, repeats the one gray channel, in 0..1, and standardizes each copy with the
    weights' own figures. That is exact, where summing the first layer's weights is not: zero
    padding stands for the mean color, which differs between channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, size: int, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.size = size
        self.repeats = mean is not None
        # Not persistent: they are in the model file's settings already.
        self.register_buffer("mean", torch.tensor(mean or ()).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or ()).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C or len(mean), size, size]."""
        if self.size != images.shape[-1]:
            shrinks = self.size < images.shape[-1]
            images = F.interpolate(
                images, size=(self.size, self.size), mode="bilinear", antialias=shrinks
            )
        return (images - self.mean) / self.std if self.repeats else images

    def extra_repr(self) -> str:
        return f"size={self.size}, repeats={self.repeats}"


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
