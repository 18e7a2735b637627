"""What ends a run that is nobody's bug is told in one sentence."""

import errno

import pytest
import torch

from classifier.core.errors import UserError
from classifier.training.run.failures import explained


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), r"lower train\.batch_size"),
        (torch.OutOfMemoryError("CUDA out of memory."), r"train\.accumulation_steps"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (RuntimeError("could not create a primitive"), "memory"),  # oneDNN under a memory limit
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "memory"),
        (
            RuntimeError(
                "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation,"
                " but you set 'torch.use_deterministic_algorithms(True)'."
            ),
            r"train\.deterministic: the network uses adaptive_avg_pool2d_backward_cuda",
        ),
        (RuntimeError("InvalidCxxCompiler: No working C++ compiler found"), r"train\.compile"),
    ],
)
def test_each_has_its_sentence(error: Exception, words: str) -> None:
    with pytest.raises(UserError, match=words), explained():
        raise error


def test_an_impossible_allocation_is_explained() -> None:
    with pytest.raises(UserError, match="memory"), explained():
        torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EACCES, "denied")])
def test_bugs_stay_bugs(error: Exception) -> None:
    with pytest.raises(type(error)), explained():
        raise error
