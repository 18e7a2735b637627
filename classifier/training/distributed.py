"""The same loop in several processes: torch's own launcher, gradients summed over the ranks."""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.core.errors import UserError


def launch(processes: int, function: Callable[[], None]) -> None:
    """Call ``function`` in each of ``processes`` ranks, or here when one is enough.

    Under `torchrun`, which has set WORLD_SIZE, this process is a rank already: that is the way to
    use several machines. ``function`` must be importable from its module.

    Raises:
        UserError: the one that a rank raised.
        KeyboardInterrupt: when the ranks were stopped by a signal.
    """
    if processes == 1 and "WORLD_SIZE" not in os.environ:
        return function()
    if "WORLD_SIZE" in os.environ:
        return _rank(function, None, None)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The launcher reports an ended rank at length; here the rank's own sentence is enough.
    for name in (
        "torch.distributed.elastic.agent.server.api",
        "torch.multiprocessing.spawn",
        "torch.distributed.elastic.multiprocessing.api",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning:multiprocessing.resource_tracker"
    with tempfile.TemporaryDirectory() as folder:
        sentence = Path(folder) / "error.txt"
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="train",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            start_method="spawn",
        )
        try:
            elastic_launch(config, _rank)(function, str(sentence), os.getpid())
        except SignalException:
            raise KeyboardInterrupt(_read(sentence)) from None
        except ChildFailedError as error:
            text = _read(sentence)
            if text.startswith("error: "):
                raise UserError(text.removeprefix("error: ")) from None
            if text:
                raise KeyboardInterrupt(text) from None
            raise error
    return None


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _rank(function: Callable[[], None], sentence: str | None, parent: int | None) -> None:
    if parent is not None:
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // local))
    # Both, for what is small is exchanged on the CPU, and train.device may say cpu beside GPUs.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        function()
    except (UserError, KeyboardInterrupt) as stop:
        if sentence is None:
            raise
        if not Path(sentence).exists():
            text = f"error: {stop}" if isinstance(stop, UserError) else str(stop)
            Path(sentence).write_text(text, encoding="utf-8")
        os._exit(1)  # the launcher then ends the other ranks, which wait for this one
    dist.destroy_process_group()


def _end_with(parent: int) -> None:
    # A launcher that was killed cannot end its ranks; they would train on, unseen.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class Ranks:
    """This process among its peers. With one process everything here does nothing."""

    def __init__(self) -> None:
        started = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if started else 0
        self.size = dist.get_world_size() if started else 1
        self.first = self.rank == 0

    def part(self, count: int) -> slice:
        """This rank's part of ``count`` rows that all ranks have."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, network: nn.Module) -> None:
        """Sum all gradients over the ranks: as one buffer, for many small messages are slow."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        buffer = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = buffer.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

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
            nn.SyncBatchNorm.convert_sync_batchnorm(network)  # exchanges the children, in place
            return
        for module in network.modules():
            if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
                module.__class__ = _SharedBatchNorm


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
