"""What every network is: a backbone of named stages and a head that ends in a Linear."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.models.neighbors import NearestNeighbors

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
    timm's networks are one stage, a `WholeBackbone`, which returns what timm's heads want.
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

    def layer_groups(self) -> dict[str, list[nn.Parameter]]:
        """The backbone's weights by layer group, in the order in which the groups run.

        A group is a stage that has weights, or is one that a `WholeBackbone` states.
        """
        groups: dict[str, list[nn.Parameter]] = {}
        for name, stage in self.backbone.named_children():
            if isinstance(stage, WholeBackbone):
                groups |= stage.layer_groups()
            else:
                groups[name] = list(stage.parameters())
        return {name: weights for name, weights in groups.items() if weights}

    def stages(self) -> dict[str, nn.Module]:
        """The modules that may return maps, by name: the stages, or those of a `WholeBackbone`."""
        stages: dict[str, nn.Module] = {}
        for name, stage in self.backbone.named_children():
            stages |= stage.stages() if isinstance(stage, WholeBackbone) else {name: stage}
        return stages

    @property
    def prefix_tokens(self) -> int | None:
        """How many tokens come before those of the patches; None where that is not known."""
        wholes = [stage for stage in self.backbone if isinstance(stage, WholeBackbone)]
        return wholes[0].prefix_tokens if wholes else None

    @property
    def last_linear(self) -> nn.Linear:
        """The layer that makes the logits; its input is the image's embedding."""
        return [module for module in self.head.modules() if isinstance(module, nn.Linear)][-1]

    @property
    def last_layer(self) -> nn.Module:
        """What makes the logits of the embedding: `NearestNeighbors`, or `last_linear`."""
        voting = [part for part in self.head.modules() if isinstance(part, NearestNeighbors)]
        return voting[0] if voting else self.last_linear

    def replace_last_layer(self, layer: nn.Module) -> None:
        """Put another layer in the place of `last_layer`."""
        parent, _, name = self.path_of(self.last_layer).rpartition(".")
        setattr(self.get_submodule(parent), name, layer)

    def path_of(self, module: nn.Module) -> str:
        """The name of a module within the network."""
        return next(path for path, found in self.named_modules() if found is module)

    def train(self, mode: bool = True) -> "Classifier":
        """Switch to training, except for what is frozen: its batch statistics stay as learnt."""
        super().train(mode)
        if mode:
            _keep_frozen(self)
        return self


def _keep_frozen(module: nn.Module) -> None:
    """Put the largest parts of which all weights are frozen into eval mode."""
    trained = [parameter.requires_grad for parameter in module.parameters()]
    if trained and not any(trained):
        module.eval()
    elif not all(trained):
        for child in module.children():
            _keep_frozen(child)


class WholeBackbone(nn.Module, ABC):
    """A stage that is the whole backbone of another library's network, and states its parts.

    ``prefix_tokens``: how many of a transformer's tokens come before those of the patches; None
    where that is not known.
    """

    prefix_tokens: int | None = None

    @abstractmethod
    def layer_groups(self) -> dict[str, list[nn.Parameter]]:
        """The weights by layer group, in the order in which the groups run."""

    @abstractmethod
    def stages(self) -> dict[str, nn.Module]:
        """The modules inside that may return maps, by name."""


class Entry(nn.Module):
    """Turn prepared images into what pretrained weights were trained on. Has no weights.

    Resizes images of ``prepared`` × ``prepared`` pixels to ``size`` × ``size``, and those that
    training has shrunk in the same proportion (bilinear, antialiased when shrinking); if ``mean``
    and ``std`` are given, repeats the one gray channel, in 0..1, and standardizes each copy with
    the weights' own figures. That is exact, where summing the first layer's weights is not: zero
    padding stands for the mean color, which differs between channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        prepared: int,
        size: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.prepared = prepared
        self.size = size
        self.repeats = mean is not None
        # Not persistent: they are in the model file's settings already.
        self.register_buffer("mean", torch.tensor(mean or ()).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or ()).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C or len(mean), size, size]."""
        side = images.shape[-1]
        wanted = self.size if side == self.prepared else round(self.size * side / self.prepared)
        if wanted != side:
            images = F.interpolate(
                images, size=(wanted, wanted), mode="bilinear", antialias=wanted < side
            )
        return (images - self.mean) / self.std if self.repeats else images

    def extra_repr(self) -> str:
        return f"size={self.size}, repeats={self.repeats}"
