"""Optimizers, and which parameters decay."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from classifier.models.classifier import Classifier

OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "muon"]

# Names of linear layers that compute an attention's query, key and value in one: this project's,
# timm's and torchvision's.
_QUERY_KEY_VALUE = ("query_key_value", "qkv", "to_qkv")


def build_optimizer(
    network: nn.Module,
    name: OptimizerName,
    *,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    betas: tuple[float, float] = (0.9, 0.999),
    lr_factors: Mapping[nn.Parameter, float] = MappingProxyType({}),
) -> Optimizer:
    """An optimizer over all parameters of ``network``; it passes over those without a gradient.

    Frozen parameters are among them, so that they can be let go later. Each group carries
    ``initial_lr``; the loop sets ``lr`` to its product with the schedule.

    Args:
        momentum: of sgd (Nesterov's) and rmsprop, and of muon's matrices.
        betas: of adam and adamw, and of the parameters that muon leaves to AdamW.
        lr_factors: on ``lr``, for the parameters that have another one than 1.
    """
    groups = parameter_groups(network, weight_decay, lr, lr_factors, orthogonalize=name == "muon")
    # One kernel for all parameters: a step of a small network is otherwise mostly call overhead.
    fused = all(p.is_floating_point() for group in groups for p in group["params"])
    match name:
        case "adam":
            optimizer: Optimizer = Adam(groups, lr, betas, fused=fused)
        case "adamw":
            optimizer = AdamW(groups, lr, betas, weight_decay=weight_decay, fused=fused)
        case "sgd":
            optimizer = SGD(groups, lr, momentum, nesterov=momentum > 0, fused=fused)
            # The fused kernel takes momentum of all or of none: not of those alone that were
            # trained before a frozen stage was let go. The first step from 0 is the same.
            for parameter in network.parameters():
                if momentum:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        case "rmsprop":
            optimizer = RMSprop(groups, lr, momentum=momentum)
        case "muon":
            optimizer = Muon(groups, lr, momentum, betas, weight_decay)
        case _:
            raise ValueError(f"no optimizer is called {name!r}")
    return optimizer


def lr_factors(
    network: Classifier, backbone_lr_factor: float, layer_decay: float
) -> dict[nn.Parameter, float]:
    """Factors on the learning rate of the backbone's parameters.

    ``backbone_lr_factor`` is for all of them. ``layer_decay`` is the factor from one layer group to
    the one before it, and from the head to the last one: what the first layers have learnt is of
    the most general use (Clark et al. 2020, ELECTRA, A.1, https://arxiv.org/abs/2003.10555).
    """
    groups = list(network.layer_groups().values())
    return {
        weight: backbone_lr_factor * layer_decay ** (len(groups) - number)
        for number, group in enumerate(groups)
        for weight in group
    }


def parameter_groups(
    network: nn.Module,
    weight_decay: float,
    lr: float,
    lr_factors: Mapping[nn.Parameter, float],
    orthogonalize: bool = False,
) -> list[dict[str, Any]]:
    """Divide the parameters by how they are updated.

    The weights of linear layers, convolutions and attention decay. Nothing else does: pulling a
    norm's scale, an offset, a class token or a position to zero restrains nothing, and costs
    accuracy (He et al. 2019, Bag of Tricks, 3.1). With ``orthogonalize``, `Muon` updates the
    weights for which `weight_matrices` has a number, which is the ``matrices`` of their group.
    """
    weights = weight_matrices(network)
    groups: dict[tuple[bool, float, int], dict[str, Any]] = {}
    for parameter in network.parameters():  # a shared one once
        decays, factor = parameter in weights, lr_factors.get(parameter, 1.0)
        matrices = weights.get(parameter, 0) if orthogonalize else 0
        group = groups.setdefault(
            (decays, factor, matrices),
            {
                "params": [],
                "lr": lr * factor,
                "initial_lr": lr * factor,
                "weight_decay": weight_decay if decays else 0.0,
                "matrices": matrices,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def weight_matrices(network: nn.Module) -> dict[nn.Parameter, int]:
    """The weights that layers multiply their input by, and how many matrices each one stacks.

    The type of the module that owns a parameter decides. Norms and embeddings are no such layers,
    nor are modules with parameters of their own, such as class tokens, positions and layer scales.

    Returns:
        For each weight, the number of matrices along its first dimension: 3 for a query, key and
        value in one, a convolution's number of groups, else 1. It is 0 for what Muon leaves to
        AdamW: the input layer, the last layer, and depthwise convolutions, whose filters are
        vectors.
    """
    layers = [(name, module) for name, module in network.named_modules() if _is_layer(module)]
    ends = [module for _, module in layers[:1] + layers[-1:]]
    found: dict[nn.Parameter, int] = {}
    for name, module in layers:
        for key, parameter in module.named_parameters(recurse=False):
            if key.endswith("weight"):
                count = 0 if module in ends else _stacked(name, module, key)
                found[parameter] = min(count, found.get(parameter, count))
    return found


def _is_layer(module: nn.Module) -> bool:
    # A weight that is a buffer is not trained, as `fast`'s whitening: behind it, no layer is the
    # input layer.
    untrained = "weight" in dict(module.named_buffers(recurse=False))
    return untrained or isinstance(module, nn.Linear | _ConvNd | nn.MultiheadAttention)


def _stacked(name: str, module: nn.Module, key: str) -> int:
    if isinstance(module, _ConvNd):
        depthwise = module.groups == module.in_channels > 1
        return 0 if depthwise else module.groups
    fused = key == "in_proj_weight" or name.rpartition(".")[2] in _QUERY_KEY_VALUE
    return 3 if fused else 1


class Muon(AdamW):
    """Momentum, orthogonalized, for the hidden weights; AdamW for everything else.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. The update of a matrix is
    scaled by 0.2 sqrt(max(rows, columns)), which gives it the size of AdamW's (Liu et al. 2025,
    Muon is Scalable for LLM Training, 2.2), so that one learning rate and one decay serve both.
    torch.optim.Muon takes matrices alone; here a convolution's weights [out, in, h, w] count as
    the matrix [out, in*h*w], and a group's ``matrices`` says how many matrices each of its
    parameters stacks along the first dimension; 0, the default, leaves them to AdamW.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        for group in groups:
            group.setdefault("matrices", 0)
            group["momentum"] = momentum
        super().__init__(groups, lr, betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the hidden weights, then hand the others to AdamW."""
        taken = []
        for group in self.param_groups:
            if not group["matrices"]:
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
                    taken.append((parameter, parameter.grad))
                    parameter.grad = None  # AdamW passes over it
        super().step()
        for parameter, gradient in taken:
            parameter.grad = gradient

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # AdamW expects one in every state that it loads
        state["step"] += 1
        average = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(average, group["momentum"])  # Nesterov's look ahead
        if group["matrices"] > 1:
            ahead = ahead.unflatten(0, (group["matrices"], -1))
            update = orthogonalized(ahead.flatten(2))
        else:
            update = orthogonalized(ahead.flatten(1))
        size = 0.2 * math.sqrt(max(update.shape[-2:]))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * size)


def orthogonalized(matrix: Tensor, steps: int = 5) -> Tensor:
    """U S' V^T for matrix = U S V^T, with all of S' near 1 (0.7 to 1.2): Newton-Schulz iteration.

    The coefficients are Jordan's: steepest at zero, so that five steps lift small singular values.
    Each step multiplies the matrix by a polynomial of its Gram matrix; the steps are made on that,
    which has fewer columns, and the matrix is multiplied once: a third of the time for 128 × 1152.

    Args:
        matrix: float [rows, columns], or several at once, [n, rows, columns].
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = (matrix.mT if tall else matrix).float()  # half precision is too rough for a Gram matrix
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    gram = x @ x.mT
    product = factor = _polynomial(gram)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram)
        product = factor @ product
    x = product @ x
    return (x.mT if tall else x).to(matrix.dtype)


def _polynomial(gram: Tensor) -> Tensor:
    """What one step multiplies the matrix with that has this Gram matrix."""
    a, b, c = 3.4445, -4.7750, 2.0315
    add_product = torch.addmm if gram.ndim == 2 else torch.baddbmm
    factor = add_product(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=-2, dim2=-1).add_(a)
    return factor
