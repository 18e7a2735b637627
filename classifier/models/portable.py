"""Kernels of torch that give the same bits on every x86-64 processor with AVX2."""

import os
from functools import cache

import torch
from torch import Tensor

from classifier.core.portable import TORCH, has_avx2
from classifier.models.spec import ModelSpec


def compute_portably() -> bool:
    """Let torch compute with such kernels from now on, in this process and those that it starts.

    torch and its libraries choose their kernels when they compute for the first time: call this
    before, or nothing changes.

    Returns:
        Whether they are used. They cannot be on other processors, and where torch has computed.
    """
    if not has_avx2():
        return False
    before = {name: os.environ.get(name) for name in TORCH}
    os.environ.update(TORCH)
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
        return False
    _replace_sqrt()
    return True


def compute_as_trained(spec: ModelSpec) -> None:
    """Take the kernels and the number of CPU threads that a model was trained with.

    Call it before torch computes anything. Says so where the processor lacks the kernels.
    """
    if spec.extra.get("numerics") == "portable" and not compute_portably():
        print("warning: the model's numerics are portable, and those of this processor are not.")
    if "threads" in spec.extra:
        torch.set_num_threads(spec.extra["threads"])


@cache
def _replace_sqrt() -> torch.library.Library:
    """Replace torch's square root, which is MKL's, by one of exact operations.

    MKL refines what the instruction RSQRTPS estimates, whose bits each maker chooses: of 300,001
    roots, 38,454 were other ones on an AMD EPYC than with an exact estimate, all by one unit in the
    last place. RMSprop, Muon and some augmentations take roots; the fused kernels of Adam, AdamW
    and SGD use the processor's own instruction, which IEEE 754 fixes. So do these two steps.
    """

    def root(values: Tensor) -> Tensor:
        return values.rsqrt().reciprocal_()

    library = torch.library.Library("aten", "IMPL")
    library.impl("sqrt", root, "CPU")
    library.impl("sqrt_", lambda values: values.copy_(root(values)), "CPU")
    return library  # lasts as long as someone has it
