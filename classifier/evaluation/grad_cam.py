"""What the network looks at: Grad-CAM, feature maps, first-layer filters.

The files that `evaluate` writes of it are listed in docs/pipeline.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.core.types import Float32Array
from classifier.models.classifier import Classifier
from classifier.models.forward import at_a_time

FINEST = 4  # positions a side that a heat map should have, so that it can show a place
MOST_MAPS = 16  # feature maps kept of each stage
_TOGETHER = 64  # images whose gradients are held at a time, at most


@dataclass(frozen=True)
class HeatMaps:
    """Where the evidence for a class lies: ``heat`` float32 [M, H, W] in 0..1, and its source."""

    heat: Float32Array
    stage: str


def grad_cam(network: Classifier, images: Tensor, targets: Sequence[int]) -> HeatMaps | None:
    """Grad-CAM: weigh the maps of a late stage by the class's gradient, keep what speaks for it.

    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, equations 1 and 2, on the last stage
    with at least FINEST x FINEST positions (the last of several positions if there is none),
    enlarged bilinearly to the image and scaled so that its highest value is 1. A vision transformer
    that classifies from its class token looks at no patch behind the last attention: there it is
    the last stage before.

    Args:
        network: in eval mode.
        images: standardized float [M, C, H, W] on the network's device.
        targets: the class of each image whose evidence is asked for.

    Returns:
        None for a network without stages that return maps.
    """
    shapes = {name: maps.shape for name, maps in stage_maps(network, images[:1]).items()}
    shown = [name for name, shape in shapes.items() if min(shape[2:]) >= FINEST]
    shown = shown or [name for name, shape in shapes.items() if shape[2] * shape[3] > 1]
    if not shown:
        return None
    step = at_a_time(_TOGETHER, images.shape[1:])
    parts = [
        (images[start : start + step], torch.as_tensor(targets[start : start + step]))
        for start in range(0, len(images), step)
    ]
    for stage in reversed(shown):
        maps, gradient = _maps_and_gradient(network, *parts[0], stage)
        if gradient.any():
            break
    size = images.shape[2:]
    heat = [_heat(maps, gradient, size)]
    heat += [_heat(*_maps_and_gradient(network, *part, stage), size) for part in parts[1:]]
    return HeatMaps(np.concatenate(heat), stage)


def _maps_and_gradient(
    network: Classifier, images: Tensor, targets: Tensor, stage: str
) -> tuple[Tensor, Tensor]:
    """What a stage returns, and how the logits of ``targets`` grow with it; [N, C, h, w] both."""
    values = images

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        # From what came before: only the gradient from here on is needed. The copy is for later
        # stages that work in place.
        nonlocal values
        values = output.detach().requires_grad_()
        return values.clone()

    hook = network.stages()[stage].register_forward_hook(cut)
    try:
        with torch.enable_grad():
            logits = network.head(network.backbone(images))
            chosen = logits.gather(1, targets.to(images.device)[:, None]).sum()
            (gradient,) = torch.autograd.grad(chosen, values)
    finally:
        hook.remove()
    maps, growth = (as_maps(each, network.prefix_tokens) for each in (values.detach(), gradient))
    assert maps is not None
    assert growth is not None
    return maps, growth


def _heat(maps: Tensor, gradient: Tensor, size: Sequence[int]) -> Float32Array:
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = F.relu((weights * maps).sum(dim=1, keepdim=True)).float()
    heat = F.interpolate(heat, size=tuple(size), mode="bilinear", align_corners=False)
    highest = heat.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    result: Float32Array = (heat / highest)[:, 0].cpu().numpy()
    return result


def as_maps(values: object, prefix_tokens: int | None = None) -> Tensor | None:
    """What a stage returned for square images, as maps [N, C, h, w]; None where it is none.

    Maps [N, h, w, C] are told by their sides, which are equal. Of tokens [N, T, C], those of the
    patches fill a square; ``prefix_tokens`` before them are left out, or as few as leave a square.
    """
    if not isinstance(values, Tensor):
        return None
    if values.ndim == 3:
        count = values.shape[1] - (prefix_tokens or 0)
        side = math.isqrt(count)
        if prefix_tokens is not None and side * side != count:
            return None
        return values[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))
    if values.ndim != 4:
        return None
    channels_last = values.shape[1] == values.shape[2] != values.shape[3]
    return values.permute(0, 3, 1, 2) if channels_last else values


@torch.inference_mode()
def stage_maps(network: Classifier, images: Tensor) -> dict[str, Tensor]:
    """The output of each stage that returns maps, by name in the order of the run: [N, C, h, w]."""
    found = {}

    def keep(name: str) -> Callable[..., None]:
        def look(_module: nn.Module, _inputs: object, output: object) -> None:
            maps = as_maps(output, network.prefix_tokens)
            if maps is not None:
                found[name] = maps.clone()  # the next stage may work in place

        return look

    hooks = [module.register_forward_hook(keep(name)) for name, module in network.stages().items()]
    try:
        network.backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def feature_maps(network: Classifier, image: Tensor) -> dict[str, Float32Array]:
    """The first MOST_MAPS maps of each stage for one standardized image [1, C, H, W].

    One thread computes them: for a single image some processors' libraries share out a sum over
    the channels, and its last bits would depend on how many threads there are.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        maps = stage_maps(network, image)
    finally:
        torch.set_num_threads(threads)
    return {name: values[0, :MOST_MAPS].float().cpu().numpy() for name, values in maps.items()}


def first_filters(network: nn.Module) -> Float32Array | None:
    """The weights [F, C, h, w] of the first convolution; None in a network without one."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            weights: Float32Array = module.weight.detach().float().cpu().numpy()
            return weights
    return None
