"""What the network looks at: Grad-CAM, feature maps, first-layer filters.

The files that `evaluate` writes of it are listed in docs/pipeline.md.
"""

from collections.abc import Sequence
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

    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, equations 1 and 2, on the last
    convolutional stage with at least FINEST x FINEST positions (the last of several positions if
    there is none), enlarged bilinearly to the image and scaled so that its highest value is 1.

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
    heat = []
    step = at_a_time(_TOGETHER, images.shape[1:])
    for start in range(0, len(images), step):
        part = images[start : start + step]
        wanted = torch.as_tensor(targets[start : start + step], device=part.device)
        heat.append(_cam(network, part, wanted, shown[-1]))
    return HeatMaps(np.concatenate(heat), shown[-1])


def _cam(network: Classifier, images: Tensor, targets: Tensor, stage: str) -> Float32Array:
    with torch.enable_grad():
        values = images
        maps = images
        for name, module in network.backbone.named_children():
            values = module(values)
            if name == stage:
                # Cut from what came before: only the gradient from here on is needed. The copy
                # is for later stages that work in place.
                maps = values.detach().requires_grad_()
                values = maps.clone()
        logits = network.head(values)
        chosen = logits.gather(1, targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(chosen, maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = F.relu((weights * maps.detach()).sum(dim=1, keepdim=True)).float()
    heat = F.interpolate(heat, size=images.shape[2:], mode="bilinear", align_corners=False)
    highest = heat.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    result: Float32Array = (heat / highest)[:, 0].cpu().numpy()
    return result


@torch.inference_mode()
def stage_maps(network: Classifier, images: Tensor) -> dict[str, Tensor]:
    """The output of each stage of the backbone that returns maps: name -> [N, C, h, w]."""
    found = {}
    values = images
    for name, module in network.backbone.named_children():
        values = module(values)
        if values.ndim == 4:
            found[name] = values.clone()  # the next stage may work in place
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
