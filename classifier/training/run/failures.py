"""What ends a training run that is nobody's bug, in one sentence with what to change."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from classifier.core.errors import UserError


@contextmanager
def explained() -> Iterator[None]:
    """Turn exhausted memory, a full disk or a missing compiler into a UserError."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise UserError(_MEMORY) from error
    except Exception as error:
        sentence = _sentence(str(error))
        if sentence is None:
            raise
        raise UserError(sentence) from error


def checked(losses: torch.Tensor, epoch: int, lr: float, weight_decay: float) -> torch.Tensor:
    """The same losses; UserError when one of them is infinite or not a number.

    Args:
        epoch: counted from 0.
        lr: the peak learning rate.
    """
    if not torch.isfinite(losses).all():
        # A step that takes more than all of a weight: the larger factor is the odd one.
        if lr * weight_decay >= 1 and weight_decay > lr:
            raise UserError(
                f"the loss is not a number in epoch {epoch + 1}: lower train.weight_decay"
                f" ({weight_decay:g}); times train.lr ({lr:g}), far less than 1 is usual."
            )
        raise UserError(
            f"the loss is not a number in epoch {epoch + 1}: lower train.lr ({lr:g}), or set"
            " train.gradient_clip_norm or train.warmup_epochs to 1."
        )
    return losses


_MEMORY = (
    "the memory did not suffice: lower train.batch_size, or raise train.accumulation_steps to"
    " compute each batch in that many micro-batches."
)
_DISK = "the disk is full: free some space and run again; training goes on from its last state."


def _sentence(message: str) -> str | None:
    lower = message.lower()
    if "can't allocate memory" in lower or "not enough memory" in lower:  # torch on the CPU
        return _MEMORY
    # MPS; libraries under torch (cuDNN, cuBLAS); oneDNN
    exhausted = ("out of memory", "alloc_failed", "memory object", "could not create a primitive")
    if any(words in lower for words in exhausted):
        return _MEMORY
    if "no space left on device" in lower or "disk quota exceeded" in lower:  # safetensors
        return _DISK
    if "does not have a deterministic implementation" in lower:
        operation = message.split()[0]
        return (
            f"train.deterministic: the network uses {operation}, which this device cannot repeat to"
            " the bit: set it to false, or choose another network."
        )
    if "c++ compiler" in lower:
        return (
            "train.compile needs a C++ compiler and there is none: install g++ or set it to false."
        )
    return None
