"""Where a network is computed: CPU, CUDA or MPS."""

import os
from typing import Literal

import torch

from classifier.core.errors import UserError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: str = "auto", key: str = "train.device") -> torch.device:
    """The device that ``name`` asks for; ``auto`` takes cuda, then mps, then the CPU.

    In a run of several processes each one gets the GPU of its LOCAL_RANK. ``key`` is the parameter
    that ``name`` came from, for the error's sentence.

    Raises:
        UserError: when the device that was asked for is not there.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # torch has no way to exchange gradients between processes on mps.
    mps = torch.backends.mps.is_available() and not several
    have = {"cuda": torch.cuda.is_available(), "mps": mps}
    if name == "auto":
        name = next((kind for kind, there in have.items() if there), "cpu")
    elif not have.get(name, name == "cpu"):
        raise UserError(
            f"{key}: {name} is not available to torch {torch.__version__} on this machine"
            f"{' for several processes' if several else ''}; use auto or cpu."
        )
    if name == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if device.index >= torch.cuda.device_count():
            raise UserError(
                f"train.processes needs a GPU for each process and there are"
                f" {torch.cuda.device_count()}: lower it, or set train.device to cpu."
            )
        torch.cuda.set_device(device)
        return device
    return torch.device(name)
