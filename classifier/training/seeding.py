"""One seed, many independent random streams."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *names: str | int) -> int:
    """A seed (0 <= s < 2**63) for the stream that ``names`` name: a pure function of its arguments.

    Streams with different names do not shift one another: drawing more numbers for the
    augmentation never changes the order of the images. And as a stream can be named after the
    step it serves, there is no random state to save when a run is interrupted.
    """
    text = "/".join(str(part) for part in (seed, *names))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *names: str | int) -> "torch.Generator":
    """A CPU generator at the start of the stream that ``names`` name."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *names))
