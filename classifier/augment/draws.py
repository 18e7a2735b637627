"""Random numbers for the images of a batch, the same however many processes share it."""

import numpy as np
import torch
from torch import Tensor


class Draws:
    """What is random in a batch of which this process may have a part.

    Each number is drawn for every image of the batch, and those of the images here are returned.
    All tensors are on the CPU.
    """

    def __init__(
        self,
        generator: torch.Generator,
        batch_size: int | None = None,
        rows: Tensor | None = None,
    ) -> None:
        """Draw from a CPU generator.

        Args:
            batch_size: images of the whole batch; None: all of it is here.
            rows: which of them are here, int64 [n], in the order of the images.
        """
        self.generator, self.batch_size, self.rows = generator, batch_size, rows

    def uniform(
        self, n: int, low: float = 0, high: float = 1, parts: tuple[int, ...] = ()
    ) -> Tensor:
        """Float [*parts, n] in low..high, for n images here."""
        drawn = torch.rand(*parts, self._all(n), generator=self.generator)
        return self._here(drawn) * (high - low) + low

    def integers(self, n: int, low: int, end: int, parts: tuple[int, ...] = ()) -> Tensor:
        """int64 [*parts, n] from low to end - 1."""
        shape = (*parts, self._all(n))
        return self._here(torch.randint(low, end, shape, generator=self.generator))

    def happens(self, n: int, probability: float) -> Tensor:
        """bool [n]."""
        return self.uniform(n) < probability

    def beta(self, n: int, alpha: float) -> Tensor:
        """Float32 [n] from Beta(alpha, alpha)."""
        # torch's own beta distribution takes no generator, so numpy's is seeded from it.
        drawn = np.random.default_rng(self._seed()).beta(alpha, alpha, self._all(n))
        return self._here(torch.from_numpy(drawn.astype(np.float32)))

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Float32 [n, ...] from the standard normal distribution.

        These are many: each image has a seed of its own, and those elsewhere cost no more.
        """
        drawn, own = torch.empty(shape), torch.Generator()
        seeds = self.integers(shape[0], 0, 2**62).tolist()
        for image, seed in zip(drawn, seeds, strict=True):
            image.normal_(generator=own.manual_seed(seed))
        return drawn

    def once(self) -> float:
        """A number in 0..1 for the batch as a whole."""
        return torch.rand((), generator=self.generator).item()

    def _seed(self) -> int:
        return int(torch.randint(2**62, (), generator=self.generator))

    def _all(self, n: int) -> int:
        return self.batch_size or n

    def _here(self, drawn: Tensor) -> Tensor:
        return drawn if self.rows is None else drawn[..., self.rows]
