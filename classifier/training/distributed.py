"""This process among those that train one network together."""

import os
import socket
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from classifier.core.errors import UserError


class Ranks:
    """This process among its peers. With one process everything here does nothing."""

    def __init__(self) -> None:
        started = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if started else 0
        self.size = dist.get_world_size() if started else 1
        self.first = self.rank == 0
        self.first_here = int(os.environ.get("LOCAL_RANK", "0")) == 0 or not started

    def part(self, count: int) -> slice:
        """This rank's part of ``count`` rows that all ranks have."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def rows(self, batch_size: int, micro_batches: int, before: int = 0) -> Tensor:
        """This rank's rows of a batch, int64 on the CPU: its part of each micro-batch in turn.

        A micro-batch has then the same images, and batch norm the same statistics, whatever the
        number of ranks. Each part has ``before`` more rows in front of it, those before it in the
        batch.
        """
        size = batch_size // micro_batches
        part = self.part(size)
        starts = torch.arange(part.start, batch_size, size)
        return (
            (starts[:, None] + torch.arange(-before, part.stop - part.start)) % batch_size
        ).flatten()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network with a backward pass that ends in the mean of the gradients over the ranks.

        It knows the parameters that are trained now, and has to be made anew when others are.
        """
        if self.size == 1:
            return network
        # All ranks have the same buffers, for batch norms see the whole batch. Without the search
        # for unused parameters, the second step would order the gradients anew, and with it the
        # sums of three ranks or more: a run that was taken up would end in other bits.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.11 lacks the new name
            return DistributedDataParallel(
                network,
                broadcast_buffers=False,
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
            )

    def apart(self, parallel: nn.Module) -> AbstractContextManager[None]:
        """While entered, backward passes of a network that `parallel` gave exchange nothing."""
        apart: AbstractContextManager[None] = nullcontext()
        if isinstance(parallel, DistributedDataParallel):
            apart = parallel.no_sync()
        return apart

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set in any rank; one message, in which no GPU takes part."""
        if self.size == 1:
            return [*flags]
        return (self.sum(torch.tensor(flags, dtype=torch.float32)) > 0).tolist()

    def same(self, value: Any) -> Any:
        """What the first rank has, in every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def agreed(self, facts: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """What every rank that has facts has alike.

        Raises:
            UserError: in every rank, where two of them differ.
        """
        if self.size == 1:
            return facts
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, facts and (socket.gethostname(), facts))
        (here, first), *others = [facts for facts in found if facts]
        for there, other in others:
            differing = [name for name in first if other.get(name) != first[name]]
            if differing:
                raise UserError(
                    f"the machines of this run do not have the same, and would train another model:"
                    f" {' and '.join(differing)} differ{'s' * (len(differing) == 1)} between {here}"
                    f" and {there}: give both the same."
                )
        return dict(first)

    def gather(self, part: np.ndarray) -> np.ndarray:
        """The rows of all ranks, one rank after the other; a rank may have none."""
        if self.size == 1:
            return part
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, part)
        return np.concatenate([rows for rows in found if len(rows)] or found[:1])

    def share_batch_statistics(self, network: nn.Module, device: torch.device) -> None:
        """Let batch norms see the whole batch, so that the number of ranks changes no result."""
        if self.size == 1:
            return
        if device.type == "cuda":
            # torch's own drops the activations that timm's batch norms hold.
            from timm.layers import convert_sync_batchnorm

            convert_sync_batchnorm(network)  # exchanges the children, in place
            return
        for module in network.modules():
            if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
                module.__class__ = _SharedBatchNorm
            elif isinstance(module, nn.BatchNorm2d) and hasattr(module, "act"):
                module.__class__ = _SharedBatchNormAct  # type: ignore[assignment]


class _Sum(torch.autograd.Function):
    """The sum over the ranks; every rank's result depends on every rank's input."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class _SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the statistics of all ranks: torch's SyncBatchNorm is for GPUs alone."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        x = input.float()
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        ours = torch.cat([x.sum(dims), x.new_tensor([x.numel() / x.shape[1]])])
        total = _Sum.apply(ours)
        mean, count = total[:-1] / total[-1], total[-1]
        centered = x - mean.view(shape)
        variance = _Sum.apply(centered.square().sum(dims)) / count
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        result = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(input.dtype)


class _SharedBatchNormAct(_SharedBatchNorm):
    """The same of timm's batch norm, which holds the dropout and the activation behind it."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.act(self.drop(super().forward(input)))
        return result
