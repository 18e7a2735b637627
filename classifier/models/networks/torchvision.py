"""Every classification network of torchvision, in this project's two parts.

https://docs.pytorch.org/vision/stable/models.html lists them with their papers. Importing
torchvision takes seconds, so it happens only when a network of it is asked for.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.core.errors import UserError
from classifier.models.classifier import Classifier

_SMALL = 64  # pixels; up to here, `stem: auto` is `small`
_SIZES = (8, 12, 16, 24, 32, 40, 48, 64, 75, 96, 128, 160, 192, 224, 448)

# Children of torchvision's networks that come after the last maps.
_HEADS = ("avgpool", "flatten", "dropout", "fc", "classifier", "head", "heads")
# Children that only hold a row of parts.
_ROWS = ("features", "trunk_output", "layers", "blocks")
# torchvision's files of densenet weights have dots where its module names have none.
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")


@dataclass(frozen=True)
class TorchvisionParams:
    """Settings under ``model.torchvision``.

    ``stem: small`` replaces a first convolution that shrinks the image by one that does not
    (patches by smaller ones), and drops a pooling right after it, as He et al. do for CIFAR-10
    (https://arxiv.org/abs/1512.03385); ``original`` keeps both; ``auto`` is small for images of up
    to 64 pixels.
    """

    stem: Literal["auto", "small", "original"] = "auto"


def torchvision_names() -> list[str]:
    """Names of torchvision's classification networks, sorted."""
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def torchvision_network(
    name: str, params: TorchvisionParams, classes: int, channels: int, image_size: int
) -> Classifier:
    """Build torchvision's ``name`` with fresh weights, fitted to the number of channels.

    Raises:
        UserError: it cannot take images of this size; the sentence names one that it can.
    """
    if not _takes(name, params, channels, image_size):
        larger = (size for size in _SIZES if size > image_size)
        size = next((size for size in larger if _takes(name, params, channels, size)), 224)
        raise UserError(
            f"model.name: torchvision/{name} cannot take images of {image_size}×{image_size} "
            f"pixels; set model.input_size: {size}, and they are resized on the way in"
        )
    return _network(name, params, classes, channels, image_size)


def adopt(name: str, state: Mapping[str, Tensor], image_size: int) -> dict[str, Tensor]:
    """Weights of torchvision's own ``name``, by the names that they have in our form of it.

    Auxiliary classifiers are left out, and so is the last layer.
    Raises UserError if ``state`` does not hold the weights of that network.
    """
    model = _model(name, 1000, image_size)
    linears = [f"{key}." for key, part in model.named_modules() if isinstance(part, nn.Linear)]
    # squeezenet ends in a convolution
    dropped = (linears[-1] if linears else "classifier.1.", "aux1.", "aux2.", "AuxLogits.")
    weights = OrderedDict(
        (_DOTTED.sub(r"\1\2", key), tensor)
        for key, tensor in state.items()
        if not key.startswith(dropped)
    )
    # The versions of the modules that wrote them, by which some modules convert old weights.
    weights._metadata = getattr(state, "_metadata", {})  # type: ignore[attr-defined]
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"not the weights of torchvision's {name} ({reason})") from None
    wrong = [*(key for key in missing if not key.startswith(dropped)), *unexpected]
    if wrong:
        raise UserError(f"not the weights of torchvision's {name} (they differ in {wrong[0]})")
    network = _two_parts(name, model)
    ends = {id(parameter) for parameter in network.last_linear.parameters()}
    state_dict = network.state_dict(keep_vars=True)
    return {key: value.detach() for key, value in state_dict.items() if id(value) not in ends}


class VitTokens(nn.Module):
    """The start of a vision transformer: patches, its class token, and their positions.

    Zeros complete a last row and column of patches that the image does not fill.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.project = model.conv_proj
        self.class_token = model.class_token
        self.positions: Tensor = model.encoder.pos_embedding
        self.drop = model.encoder.dropout

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> tokens [N, 1 + patches, width]."""
        height, width = images.shape[-2:]
        patch = self.project.stride[0]
        images = F.pad(images, (0, -width % patch, 0, -height % patch))
        maps = self.project(images)
        tokens = maps.flatten(2).transpose(1, 2)
        start = self.class_token.expand(len(images), -1, -1)
        positions = self._positions(maps.shape[2], maps.shape[3])
        result: Tensor = self.drop(torch.cat([start, tokens], dim=1) + positions)
        return result

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Of the class token and a grid of patches; of another grid than the own, interpolated."""
        count = self.positions.shape[1] - 1
        if count == rows * columns:
            return self.positions
        start, patches = self.positions.split([1, count], dim=1)
        grid = patches.transpose(1, 2).unflatten(2, (math.isqrt(count), -1))
        grid = F.interpolate(grid, (rows, columns), mode="bilinear")
        return torch.cat([start, grid.flatten(2).transpose(1, 2)], dim=1)


class ClassToken(nn.Module):
    """The first token, from which a vision transformer classifies."""

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, tokens, width] -> [N, width]."""
        return tokens[:, 0]


def _takes(name: str, params: TorchvisionParams, channels: int, image_size: int) -> bool:
    """Whether two images pass through in training mode; on ``meta``, where nothing is computed."""
    if name.startswith("regnet"):
        # Takes any size, and computes its widths with tensors, which `meta` cannot.
        return True
    try:
        with torch.device("meta"):
            network = _network(name, params, 2, channels, image_size)
            network(torch.zeros(2, channels, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError, ZeroDivisionError):
        return False
    return True


def _network(
    name: str, params: TorchvisionParams, classes: int, channels: int, image_size: int
) -> Classifier:
    small = params.stem == "small" or (params.stem == "auto" and image_size <= _SMALL)
    patch = max(1, image_size // 8) if small else None
    model = _model(name, classes, image_size, patch)
    _fit_first_layer(model, channels, image_size if small else None)
    return _two_parts(name, model)


def _model(name: str, classes: int, image_size: int, vit_patch: int | None = None) -> Any:
    """torchvision's own module. ``vit_patch``: pixels, for a vision transformer of small images."""
    from torchvision import models

    settings: dict[str, Any] = {"weights": None, "num_classes": classes}
    if name in ("googlenet", "inception_v3"):
        # Their auxiliary losses are not part of this project's training loop.
        settings |= {"aux_logits": False, "init_weights": True}
    elif name == "maxvit_t":
        settings["input_size"] = (image_size, image_size)
    elif name.startswith("vit_"):
        own_patch = 14 if name == "vit_h_14" else int(name.rpartition("_")[2])
        patch = min(vit_patch or own_patch, own_patch)
        # It only counts the patches; VitTokens makes them.
        settings["image_size"] = own_patch * -(-image_size // patch)
        model = models.get_model(name, **settings)
        model.conv_proj = nn.Conv2d(3, model.hidden_dim, patch, patch)
        return model
    return models.get_model(name, **settings)


def _fit_first_layer(model: nn.Module, channels: int, small: int | None) -> None:
    """Give the first convolution ``channels`` inputs and, for a ``small`` image size, no stride."""
    convolutions = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    name, old = convolutions[0]
    kernel, stride, padding = old.kernel_size[0], old.stride[0], old.padding[0]
    if small and kernel == stride > 1:  # patches; a vision transformer has its small ones already
        if not hasattr(model, "conv_proj"):
            kernel = stride = max(1, min(kernel, small * kernel // _SMALL))
    elif small and stride > 1:
        kernel, stride, padding = 3, 1, 1
        _drop_pool(model, before=convolutions[1][0])
    first = nn.Conv2d(
        channels, old.out_channels, kernel, stride, int(padding), bias=old.bias is not None
    )
    nn.init.kaiming_normal_(first.weight, nonlinearity="relu")
    if first.bias is not None:
        nn.init.zeros_(first.bias)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, first)


def _drop_pool(model: nn.Module, before: str) -> None:
    for name, module in model.named_modules():
        if name == before:
            return
        if isinstance(module, nn.MaxPool2d):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, nn.Identity())
            return


def _two_parts(name: str, model: Any) -> Classifier:
    """Regroup torchvision's modules, in the order in which they run, into backbone and head."""
    if name.startswith("vit_"):
        encoder = model.encoder
        stages = {"tokens": VitTokens(model), **dict(encoder.layers.named_children())}
        stages["norm"] = encoder.ln
        return Classifier(stages, nn.Sequential(ClassToken(), model.heads))

    parts: list[tuple[str, nn.Module]] = []
    for key, child in model.named_children():
        if key in _ROWS:
            for number, part in child.named_children():
                parts.append((f"{key}{number}" if number.isdigit() else number, part))
        elif key not in _HEADS:
            parts.append((key, child))
    if name.startswith("densenet"):
        parts.append(("relu", nn.ReLU(inplace=True)))
    # A stage begins with each part that has weights other than a norm's.
    groups: dict[str, list[nn.Module]] = {}
    for key, part in parts:
        norm = isinstance(part, nn.BatchNorm2d | nn.LayerNorm)
        if not groups or (not norm and any(True for _ in part.parameters())):
            groups[key] = []
        groups[next(reversed(groups))].append(part)
    return Classifier(
        {
            key: nn.Sequential(*group) if len(group) > 1 else group[0]
            for key, group in groups.items()
        },
        nn.Sequential(*_head(name, model)),
    )


def _head(name: str, model: Any) -> list[nn.Module]:
    children = dict(model.named_children())
    pool = children.get("avgpool", nn.AdaptiveAvgPool2d(1))
    if name.startswith("squeezenet"):
        # Averaged first, then classified: without the ReLU on the logits that torchvision has.
        dropout, convolution = model.classifier[0], model.classifier[1]
        last = nn.Linear(convolution.in_channels, model.num_classes)
        return [pool, nn.Flatten(), dropout, last]
    if name.startswith("maxvit"):
        return [model.classifier]  # pools by itself
    if name.startswith("convnext"):
        return [pool, model.classifier]  # flattens by itself
    dropout = [children["dropout"]] if "dropout" in children else []
    [last] = [children[key] for key in ("fc", "classifier", "head") if key in children]
    return [pool, nn.Flatten(), *dropout, last]
