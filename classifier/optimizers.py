"""Optimizers, and which parameters decay."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop", "muon"]


def build_optimizer(
    network: nn.Module,
    name: OptimizerName,
    *,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    betas: tuple[float, float] = (0.9, 0.999),
    backbone_lr_factor: float = 1.0,
) -> Optimizer:
    """An optimizer over all parameters of ``network``; it passes over those without a gradient.

    Frozen parameters are among them, so that they can be let go later. Each group carries
    ``initial_lr``; the loop sets ``lr`` to its product with the schedule.

    Args:
        momentum: of sgd (Nesterov's) and rmsprop, and of muon's matrices.
        betas: of adam and adamw, and of the parameters that muon leaves to AdamW.
        backbone_lr_factor: factor on ``lr`` for the parameters under ``network.backbone``.
    """
    groups = parameter_groups(
        network, weight_decay, lr, backbone_lr_factor, matrices=name == "muon"
    )
    # One kernel for all parameters: a step of a small network is otherwise mostly call overhead.
    fused = all(p.is_floating_point() for group in groups for p in group["params"])
    match name:
        case "adam":
            optimizer: Optimizer = Adam(groups, lr, betas, fused=fused)
        case "adamw":
            optimizer = AdamW(groups, lr, betas, weight_decay=weight_decay, fused=fused)
        case "sgd":
            optimizer = SGD(groups, lr, momentum, nesterov=momentum > 0, fused=fused)
        case "rmsprop":
            optimizer = RMSprop(groups, lr, momentum=momentum)
        case "muon":
            optimizer = Muon(groups, lr, momentum, betas, weight_decay)
        case _:
            raise ValueError(f"no optimizer is called {name!r}")
    return optimizer


def parameter_groups(
    network: nn.Module,
    weight_decay: float,
    lr: float,
    backbone_lr_factor: float,
    matrices: bool = False,
) -> list[dict[str, Any]]:
    """Divide the parameters by how they are updated.

    Norms and biases (all that has one dimension or none) do not decay: pulling a scale or an
    offset to zero restrains nothing, and costs accuracy (He et al. 2019, Bag of Tricks, 3.1).
    With ``matrices`` the hidden weights, neither in the input layer nor in the last one, form
    groups of their own with ``orthogonalise`` set, for `Muon`.
    """
    parameters = list(network.named_parameters())
    # Buffers count: behind an input layer that is not trained, the next one is a hidden one.
    weights = [name for name, value in network.state_dict().items() if value.ndim >= 2]
    ends = {weights[0], weights[-1]} if weights else set()
    groups: dict[tuple[bool, bool, bool], dict[str, Any]] = {}
    for name, parameter in parameters:
        decays = parameter.ndim >= 2
        in_backbone = name.startswith("backbone.")
        hidden = matrices and decays and name not in ends
        rate = lr * (backbone_lr_factor if in_backbone else 1.0)
        group = groups.setdefault(
            (decays, in_backbone, hidden),
            {
                "params": [],
                "lr": rate,
                "initial_lr": rate,
                "weight_decay": weight_decay if decays else 0.0,
                "orthogonalise": hidden,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


class Muon(AdamW):
    """Momentum, orthogonalised, for the hidden weights; AdamW for everything else.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/. The update of a matrix is
    scaled by 0.2 sqrt(max(rows, columns)), which gives it the size of AdamW's (Liu et al. 2025,
    Muon is Scalable for LLM Training, 2.2), so that one learning rate and one decay serve both.
    torch.optim.Muon takes matrices alone; here a convolution's weights [out, in, h, w] count as
    the matrix [out, in*h*w].
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
            group.setdefault("orthogonalise", False)
            group["momentum"] = momentum
        super().__init__(groups, lr, betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the hidden weights, then hand the others to AdamW."""
        taken = []
        for group in self.param_groups:
            if not group["orthogonalise"]:
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
        update = orthogonalised(ahead.flatten(1))
        size = 0.2 * math.sqrt(max(update.shape))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update.view(parameter.shape), alpha=-group["lr"] * size)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """U S' V^T for matrix = U S V^T, with all of S' near 1 (0.7 to 1.2): Newton-Schulz iteration.

    The coefficients are Jordan's: steepest at zero, so that five steps lift small singular values.
    Each step multiplies the matrix by a polynomial of its Gram matrix; the steps are made on that,
    which has fewer columns, and the matrix is multiplied once: a third of the time for 128 × 1152.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).float()  # half precision is too rough for a Gram matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    product = factor = _polynomial(gram)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = _polynomial(gram)
        product = factor @ product
    x = product @ x
    return (x.T if tall else x).to(matrix.dtype)


def _polynomial(gram: Tensor) -> Tensor:
    """What one step multiplies the matrix with that has this Gram matrix."""
    a, b, c = 3.4445, -4.7750, 2.0315
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


class WeightAverage:
    """Exponential moving average of a network's weights and buffers (Polyak and Juditsky 1992).

    With ``decay`` 0 there is none: nothing is kept and nothing done.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from the present weights; ``decay`` is what an average keeps at each step."""
        self.decay = decay
        self.updates = 0
        self.active = decay > 0
        present = network.state_dict() if self.active else {}
        self.values = {name: value.detach().clone() for name, value in present.items()}

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved to continue."""
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take what `state_dict` gave."""
        self.updates = state["updates"]
        for name, value in self.values.items():
            value.copy_(state["values"][name])

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the present weights; faster at first, when they are new."""
        if not self.active:
            return
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = network.state_dict()
        floats = [name for name, value in self.values.items() if value.is_floating_point()]
        averages, present = [self.values[n] for n in floats], [state[n] for n in floats]
        torch._foreach_lerp_(averages, present, 1 - keep)
        for name, value in self.values.items():
            if not value.is_floating_point():  # a count of batches has no average
                value.copy_(state[name])
