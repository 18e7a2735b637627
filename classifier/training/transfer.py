"""Transfer learning: start from weights that were trained on other images.

In the order in which training uses it: ``plan`` says what the network and its input must be like,
``models.build`` makes it, ``load_weights`` fills it, and ``freeze`` before every epoch holds still
what shall stay as it was learnt. Yosinski et al., "How transferable are features in deep neural
networks?", 2014, https://arxiv.org/abs/1411.1792; gradual unfreezing: Howard and Ruder, 2018,
https://arxiv.org/abs/1801.06146.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classifier.core.errors import UserError
from classifier.core.pretrained import MODEL_KEY, Start, file_of, said_by, weights_in
from classifier.core.resize import resize_in
from classifier.core.value_range import ranges_in
from classifier.dataset.stored_images import Images
from classifier.models.classifier import Classifier
from classifier.models.forward import at_a_time, normalize
from classifier.models.model_file import checked_spec, read_weights
from classifier.models.networks import timm, torchvision
from classifier.models.registry import TORCHVISION, ModelParams
from classifier.models.spec import ModelSpec, read_spec

# Learning rates at which the weights of libraries are mostly trained further, in batches of 32 to
# 128 images; ten times as much lets most of what they had learnt go.
USUAL_RATES = {"sgd": 0.01, "adam": 1e-4, "adamw": 1e-4, "rmsprop": 1e-4, "muon": 1e-4}
FITTED_TO = 2000  # images; their patches are many more


@dataclasses.dataclass(frozen=True)
class _Source:
    """What weights were trained on: side in pixels, mean and std per channel; and their network."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    args: Mapping[str, Any]


def plan(params: ModelParams, meta: Mapping[str, Any]) -> ModelSpec:
    """The spec of the network to train on data that ``meta`` (data/prepared/meta.json) describes.

    With pretrained weights, their own preprocessing replaces that of the data: their mean and std
    standardize the images; images of another size are resized on the device, behind augmentation;
    gray images are repeated for weights of three channels, where the spec's mean and std become 0
    and 1 and the network's ``Entry`` has the weights' own.

    Raises:
        UserError: there are no such weights, or they belong to a different network.
    """
    spec = ModelSpec(
        name=params.name,
        args=params.args(),
        classes=tuple(meta["classes"]),
        channels=meta["channels"],
        image_size=meta["image_size"],
        resize=resize_in(meta),
        mean=tuple(meta["mean"]),
        std=tuple(meta["std"]),
        value_range=ranges_in(meta),
    )
    if not params.pretrained:
        return spec
    source = _source(params)
    channels = len(source.mean)
    if channels < spec.channels:
        raise UserError(
            f"model.pretrained: the weights of {file(params)} are for gray images and these "
            "are in color; set preprocess.channels: 1"
        )
    mean, std = source.mean, source.std
    entry: dict[str, Any] = {"size": params.input_size or source.image_size}
    if channels > spec.channels:
        entry |= {"mean": list(mean), "std": list(std)}
        mean, std = (0.0,), (1.0,)
    args = {**source.args, "entry": entry}
    return dataclasses.replace(spec, args=args, mean=mean, std=std)


def load_weights(network: Classifier, params: ModelParams, spec: ModelSpec) -> None:
    """Fill a network, built from ``plan``'s spec, with the weights that ``params`` names, if any.

    The last layer keeps its fresh weights, unless they come from a model of the same classes.

    Raises:
        UserError: a file that is missing, damaged, or of a different network.
    """
    if not params.pretrained:
        return
    last = next(name for name, module in network.named_modules() if module is network.last_linear)
    weights, place = _weights(params, spec)
    # Weights of the Entry do not exist, so that names are the same with and without one.
    target = network.state_dict()
    path = file(params)
    same_classes = _is_own(path) and read_spec(path).classes == spec.classes
    for name, old in target.items():
        if name.startswith(f"{last}.") and not same_classes:
            continue
        if name not in weights or weights[name].shape != old.shape:
            found = tuple(weights[name].shape) if name in weights else "nothing"
            raise UserError(
                f"model.pretrained: {place} does not fit {spec.name}: {name} has shape "
                f"{tuple(old.shape)} here and {found} there; use the settings and the image size "
                "that the weights were trained with"
            )
        target[name] = weights[name]
    network.load_state_dict(target)


def fit_weights(network: Classifier, params: ModelParams, spec: ModelSpec, images: Images) -> None:
    """Let layers that take their first weights from the train split do so; see `Classifier.fit`.

    With pretrained weights they keep those. ``images``: uint8 [N, H, W, C], of which up to
    FITTED_TO, evenly spaced, are read where there is such a layer.
    """
    if not params.pretrained:
        rows = np.unique(np.linspace(0, len(images) - 1, FITTED_TO).astype(int))
        side = max(spec.args.get("entry", {}).get("size", 0), spec.image_size)
        step = at_a_time(len(rows), (side, side, spec.channels))

        def batches() -> Iterator[Tensor]:
            for start in range(0, len(rows), step):
                part = torch.from_numpy(images[rows[start : start + step]])
                yield normalize(part, spec.mean, spec.std)

        network.fit(batches)


def freeze(network: Classifier, params: ModelParams, epoch: int = 0) -> int:
    """Freeze what ``model.freeze`` says, less what gradual unfreezing has let go by now.

    Frozen weights get no gradient, and frozen batch norms keep their statistics (see
    ``Classifier.train``). Call it before each epoch; ``epoch`` counts the completed ones.

    Returns:
        the number of frozen layer groups.
    """
    groups = network.layer_groups()
    frozen = {"none": 0, "backbone": len(groups)}.get(str(params.freeze))
    if frozen is None:
        frozen = int(params.freeze)
    if frozen > len(groups):
        raise UserError(
            f"model.freeze: {frozen} layer groups, but the backbone of {params.name} has "
            f"{len(groups)}: {', '.join(groups)}"
        )
    if params.unfreeze_every:
        frozen = max(0, frozen - epoch // params.unfreeze_every)
    for number, weights in enumerate(groups.values()):
        for weight in weights:
            weight.requires_grad_(number >= frozen)
    network.train(network.training)
    return frozen


def rate_warning(params: ModelParams, optimizer: str, rate: float) -> str:
    """A line where a pretrained backbone trains at more than ten times its usual rate, or "".

    Weights of this project are no matter: their networks and images are small.

    Args:
        rate: the highest peak learning rate of the backbone's weights.
    """
    usual = USUAL_RATES[optimizer]
    if (
        not params.pretrained
        or params.frozen
        or rate <= 10 * usual * 1.001
        or _is_own(file(params))
    ):
        return ""
    return (
        f"warning: the pretrained backbone trains at a learning rate of {rate:g}, and at more than"
        f" {10 * usual:g} {optimizer} mostly destroys what it has learnt: lower train.lr or"
        " train.backbone_lr_factor, as `python -m classifier recipe photos-finetune` does."
    )


def _source(params: ModelParams) -> _Source:
    """What the weights were trained on; reads the header of their file."""
    path = file(params)
    kind, content = said_by(path)
    if kind == MODEL_KEY:
        return _own_source(params, read_spec(path))
    weights = weights_in(content, path, _start(params)).input
    stem = {"stem": "original"} if params.name.startswith(TORCHVISION) else {}
    args = {**params.args(), **stem}
    return _Source(weights.image_size, weights.mean, weights.std, args)


def _start(params: ModelParams) -> Start:
    return Start(params.name, params.pretrained)


def file(params: ModelParams) -> Path:
    """The file that ``model.pretrained`` names, which is there, or UserError."""
    path = file_of(_start(params))
    assert path is not None, "asked for without weights"
    return path


def _own_source(params: ModelParams, spec: ModelSpec) -> _Source:
    if spec.name == "ensemble":
        raise UserError(
            f"model.pretrained: {file(params)} is an ensemble, which cannot be trained: name "
            "the model of one of its members"
        )
    if spec.name != params.name:
        raise UserError(
            f"model.pretrained: {file(params)} holds a network of the name {spec.name}, and "
            f"model.name is {params.name}; set model.name: {spec.name}"
        )
    checked_spec(file(params))  # before its settings are believed
    wanted = params.args()
    if wanted.get("stem") == "auto":  # torchvision's, where it follows the weights' image size
        wanted["stem"] = spec.args.get("stem", "auto")
    # How images come in and answers go out is not the network's: `plan` and the parameter
    # model.test_time_augmentation decide.
    differing = [
        f"{key}: {json.dumps(spec.args[key])}"
        for key in wanted
        if key not in ("entry", "test_time_augmentation")
        and key in spec.args
        and spec.args[key] != wanted[key]
    ]
    if differing:
        raise UserError(
            f"model.pretrained: {file(params)} was trained with other settings; under "
            f"model.{params.section} set {', '.join(differing)}"
        )
    # The network inside may itself have had its input adapted.
    entry = spec.args.get("entry", {})
    return _Source(
        image_size=entry.get("size", spec.image_size),
        mean=tuple(entry.get("mean", spec.mean)),
        std=tuple(entry.get("std", spec.std)),
        args=wanted,
    )


def _weights(params: ModelParams, spec: ModelSpec) -> tuple[dict[str, Tensor], str]:
    """Weights by the names of our network, and where they come from."""
    path = file(params)
    weights = read_weights(path)
    if _is_own(path):
        return weights, str(path)
    library, _, name = params.name.partition("/")
    adopt = {"timm": timm.adopt, "torchvision": torchvision.adopt}[library]
    try:
        return adopt(name, weights, spec.args["entry"]["size"]), str(path)
    except UserError as error:
        raise UserError(f"model.pretrained: {path}: {error}") from None


def _is_own(path: Path) -> bool:
    return said_by(path)[0] == MODEL_KEY
