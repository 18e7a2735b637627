"""Every image classification network of timm, in this project's two parts.

https://huggingface.co/docs/timm lists them with their papers. What is asked of each one is timm's
own contract: ``forward_features`` is the backbone, ``forward_head`` the head up to the last layer,
``group_matcher`` the layer groups. Importing timm takes a second, so it happens only when a network
of it is asked for.
"""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Annotated, Any

import torch
from annotated_types import Interval
from torch import Tensor, nn

from classifier.core.errors import UserError
from classifier.models.classifier import Classifier, WholeBackbone

_SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 240, 256, 288, 320, 384, 448, 512)
# What networks raise where images are too small for them, or of a size that they do not divide.
_UNFIT = (RuntimeError, ValueError, AssertionError, ZeroDivisionError, IndexError)
# A numbered child or grandchild: "layer3", "stages.2".
_NUMBERED = re.compile(r"[^.]+?\.?\d+(?=\.)")

Rate = Annotated[float, Interval(ge=0, lt=1)]


@dataclass(frozen=True)
class TimmParams:
    """Settings under ``model.timm``; None is what timm sets for the network.

    ``drop``: dropout before the last layer. ``drop_path``: fraction of images that skip the last
    block, less for earlier ones (stochastic depth, https://arxiv.org/abs/1603.09382).
    """

    drop: Rate | None = None
    drop_path: Rate | None = None


def timm_names() -> list[str]:
    """Names of timm's image classification networks, sorted as the numbers in them count."""
    import timm

    # These are encoders of language models, without a head.
    return [name for name in timm.list_models() if not name.endswith("_enc")]


def timm_tags(name: str) -> list[str]:
    """The tags of weights that timm knows for a network; ``NAME.TAG`` is a name as well."""
    import timm

    return [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]


def timm_network(
    name: str, params: TimmParams, classes: int, channels: int, image_size: int
) -> Classifier:
    """Build timm's ``name`` with fresh weights, for this image size where it is made for one.

    Weights that the logits do not depend on, as those of a token for hidden patches, are frozen.

    Raises:
        UserError: it cannot take images of this size; the sentence names one that it can. Or it
            has no such dropout.
    """
    try:
        anatomy = _anatomy(name, params, channels, image_size)
    except _UNFIT:
        size = _next_size(name, params, channels, image_size)
        raise UserError(
            f"model.name: timm/{name} cannot take images of {image_size}×{image_size} pixels; set "
            f"model.input_size: {size}, and they are resized on the way in"
        ) from None
    return _two_parts(_model(name, params, classes, channels, image_size), anatomy, classes)


def adopt(name: str, state: Mapping[str, Tensor], image_size: int) -> dict[str, Tensor]:
    """Weights of timm's own ``name``, by the names that they have in our form of it.

    Names of earlier versions of timm, and of the papers' own code, are understood as far as timm
    does; positions are interpolated to ``image_size``. The last layer is left out. Raises UserError
    if ``state`` does not hold the weights of that network.
    """
    anatomy = _anatomy(name, TimmParams(), 3, image_size)
    ends = tuple(f"{layer}." for layer in anatomy.last)
    with torch.random.fork_rng():
        fresh = _model(name, TimmParams(), 2, 3, image_size).state_dict()
        weights = {key: value for key, value in state.items() if not key.startswith(ends)}
        weights |= {key: value for key, value in fresh.items() if key.startswith(ends)}
        # timm checks all names and shapes where the numbers of classes are the same.
        source = {"state_dict": weights, "num_classes": 2, "label_offset": 0}
        try:
            model = _model(
                name, TimmParams(), 2, 3, image_size, pretrained=True, pretrained_cfg_overlay=source
            )
        except (RuntimeError, ValueError, LookupError, AttributeError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise UserError(f"not the weights of timm's {name} ({reason})") from None
        network = _two_parts(model, anatomy, 2)
    return {
        key: value for key, value in network.state_dict().items() if not key.startswith("head.last")
    }


class Features(WholeBackbone):
    """timm's network up to its last maps or tokens."""

    def __init__(self, model: Any, groups: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.timm = model
        self.prefix_tokens = getattr(model, "num_prefix_tokens", None)
        self._groups = groups

    def forward(self, images: Tensor) -> Any:
        """[N, C, H, W] -> maps [N, C, h, w] or [N, h, w, C], or tokens [N, T, C], or a list."""
        return self.timm.forward_features(images)

    def layer_groups(self) -> dict[str, list[nn.Parameter]]:
        """timm's layer groups, less the head."""
        return {
            group: [self.timm.get_parameter(name) for name in names]
            for group, names in self._groups.items()
        }

    def stages(self) -> dict[str, nn.Module]:
        """The modules that are named as a layer group is."""
        modules = dict(self.timm.named_modules())
        return {group: modules[group] for group in self._groups if group in modules}


class Pooled(nn.Module):
    """timm's network between its last maps or tokens and the last layer."""

    def __init__(self, model: Any, pre_logits: bool) -> None:
        super().__init__()
        self.timm = model
        self._settings = {"pre_logits": True} if pre_logits else {}

    def forward(self, features: Any) -> Tensor:
        """What `Features` gives -> embeddings [N, D]."""
        embeddings: Tensor = self.timm.forward_head(features, **self._settings)
        return embeddings


@dataclass(frozen=True)
class _Anatomy:
    """How a network is divided, found by looking at it run.

    Attributes:
        last: names of what makes the logits. There is an Identity in its place.
        several: whether that is more than one layer: into which a teacher was distilled, or which
            look at an image in several resolutions. One Linear, on what timm calls ``pre_logits``,
            takes their place.
        width: of an embedding.
        bias: whether the last layer has one.
        head: children of which the weights are used in the head, not in the backbone.
        unused: weights that the logits do not depend on.
        groups: names of the backbone's weights by layer group, in the order in which they run.
    """

    last: tuple[str, ...]
    several: bool
    width: int
    bias: bool
    head: frozenset[str]
    unused: frozenset[str]
    groups: Mapping[str, tuple[str, ...]]


@cache
def _anatomy(name: str, params: TimmParams, channels: int, image_size: int) -> _Anatomy:
    """Let two images pass through the network on ``meta``, where nothing is computed."""
    with (
        torch.random.fork_rng(),
        torch.device("meta"),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        model = _model(name, params, 2, channels, image_size).eval()
        _require_whole_patches(model, image_size)
        named = model.pretrained_cfg["classifier"]
        last = (named,) if isinstance(named, str) else tuple(named)
        bias = model.get_submodule(last[0]).bias is not None
        several = len(last) > 1 or isinstance(model.get_classifier(), tuple)
        with _running(model) as in_backbone:
            features = model.forward_features(torch.zeros(2, channels, image_size, image_size))
        if several:  # with the norm that each may have before it
            last = tuple(sorted({layer.partition(".")[0] for layer in last}))
        _leave_out(model, last)
        with _running(model) as in_head:
            embeddings = Pooled(model, several)(features)
        embeddings.sum().backward()
        head = in_head - in_backbone
        return _Anatomy(
            last=last,
            several=several,
            width=embeddings.shape[1],
            bias=bias,
            head=frozenset(head),
            unused=frozenset(key for key, value in model.named_parameters() if value.grad is None),
            groups=_groups(model, head),
        )


def _model(
    name: str, params: TimmParams, classes: int, channels: int, image_size: int, **more: Any
) -> Any:
    """timm's own module."""
    import timm

    settings: dict[str, Any] = {"num_classes": classes, "in_chans": channels}
    # timm passes over what is None.
    settings |= {"drop_rate": params.drop, "drop_path_rate": params.drop_path}
    if timm.get_pretrained_cfg(name).fixed_input_size:
        settings["img_size"] = image_size
    try:
        return timm.create_model(name, **settings, **more)
    except TypeError as error:
        wrong = re.search(r"'(drop\w*)_rate'", str(error))
        if wrong is None:
            raise
        raise UserError(f"model.timm.{wrong[1]}: timm/{name} has none; set it to null") from None


def _next_size(name: str, params: TimmParams, channels: int, image_size: int) -> int:
    """The least of some image sizes that the network takes and is no smaller; else its own."""
    import timm

    for size in (size for size in _SIZES if size > image_size):
        try:
            _anatomy(name, params, channels, size)
        except _UNFIT:
            continue
        return size
    return int(timm.get_pretrained_cfg(name).input_size[-1])


def _require_whole_patches(model: Any, image_size: int) -> None:
    """Raise ValueError where the last rows and columns of an image would not be seen."""
    from timm.layers import PatchEmbed

    embed = getattr(model, "patch_embed", None)
    if not isinstance(embed, PatchEmbed) or embed.dynamic_img_pad:
        return
    if any(image_size % side for side in embed.patch_size):
        raise ValueError("the patches do not fill the image")


@contextmanager
def _running(model: nn.Module) -> Iterator[set[str]]:
    """Collect the names of the children with weights that run, or of which a part does."""
    found: set[str] = set()

    def noting(name: str) -> Callable[..., None]:
        return lambda *_: found.add(name)

    hooks = [
        part.register_forward_pre_hook(noting(name))
        for name, child in model.named_children()
        if _has_weights(child)
        for part in child.modules()
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _leave_out(model: nn.Module, names: Iterable[str]) -> None:
    for name in names:
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, nn.Identity())


def _two_parts(model: Any, anatomy: _Anatomy, classes: int) -> Classifier:
    """timm's module twice, each time with the children that one part runs."""
    _leave_out(model, anatomy.last)
    for name in anatomy.unused:
        model.get_parameter(name).requires_grad_(False)
    backbone, head = copy.copy(model), copy.copy(model)
    backbone._modules, head._modules = {}, {}
    for name, child in model.named_children():
        if name not in anatomy.head:
            backbone._modules[name] = child
        if name in anatomy.head or not _has_weights(child):
            head._modules[name] = child
    head._parameters, head._buffers = {}, {}
    parts = {
        "pooled": Pooled(head, anatomy.several),
        "last": nn.Linear(anatomy.width, classes, anatomy.bias),
    }
    return Classifier(
        {"features": Features(backbone, anatomy.groups)}, nn.Sequential(OrderedDict(parts))
    )


def _groups(model: Any, head: Container[str]) -> dict[str, tuple[str, ...]]:
    """The backbone's weights by timm's layer groups; each named as the place where it begins.

    Where timm states no groups, they are what is numbered, as ``stages.2``, and all before it.
    """
    from timm.models import group_parameters

    trained = {
        name: None
        for name, weight in model.named_parameters()
        if weight.grad is not None and name.partition(".")[0] not in head
    }
    try:
        found = group_parameters(model, model.group_matcher(coarse=True)).values()
        groups = [tuple(name for name in names if name in trained) for names in found]
    except (AttributeError, AssertionError):  # none, or no coarse ones
        groups = _numbered(trained)
    return _named([names for names in groups if names])


def _numbered(weights: Iterable[str]) -> list[tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for name in weights:
        numbered = _NUMBERED.match(name)
        place = numbered[0] if numbered else next(reversed(groups), name)
        groups.setdefault(place, []).append(name)
    return [tuple(names) for names in groups.values()]


def _named(groups: Sequence[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Each group under the shortest start of its first weight's name that is its own alone."""
    within: dict[str, set[int]] = {}
    for number, names in enumerate(groups):
        for name in names:
            for place in _places(name):
                within.setdefault(place, set()).add(number)
    return {
        next(place for place in _places(names[0]) if len(within[place]) == 1): names
        for names in groups
    }


def _places(name: str) -> Iterator[str]:
    """What a weight is in, from the outermost module on, and the weight: "a", "a.0", "a.0.b"."""
    return accumulate(name.split("."), "{}.{}".format)
