"""A last layer that answers with the classes of the most alike training images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEMPERATURE = 0.07  # Wu et al., 2018, section 3.4: https://arxiv.org/abs/1805.01978
_LEAST = 1e-6  # probability of a class that no neighbor has


class NearestNeighbors(nn.Module):
    """Logits of embeddings by a vote of their nearest training embeddings.

    The vote is weighted: a neighbor of cosine c counts exp(c / TEMPERATURE). The logits are the
    logarithms of the fractions that the classes get, and of ``_LEAST`` where they get less.

    Attributes:
        neighbors: how many vote.
        linear: its weights [N, D] are the training embeddings, of length 1.
        labels: int64 [N], their classes.
    """

    labels: Tensor

    def __init__(self, width: int, images: int, classes: int, neighbors: int) -> None:
        super().__init__()
        self.neighbors, self.classes = neighbors, classes
        self.linear = nn.Linear(width, images, bias=False)
        self.register_buffer("labels", torch.zeros(images, dtype=torch.int64))

    @torch.no_grad()
    def hold(self, embeddings: Tensor, labels: Tensor) -> None:
        """Take training embeddings [N, D] of any length, and their labels [N]."""
        self.linear.weight.copy_(F.normalize(embeddings, dim=1))
        self.labels.copy_(labels)

    def nearest(self, embeddings: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Cosines [N, count] of the most alike training images, falling, and their rows."""
        found = self.linear(F.normalize(embeddings, dim=1)).topk(count, dim=1)
        return found.values, found.indices

    def vote(self, cosines: Tensor, rows: Tensor) -> Tensor:
        """Logits [N, classes] of what `nearest` found."""
        weights = torch.softmax(cosines / TEMPERATURE, dim=1)
        votes = F.one_hot(self.labels[rows], self.classes).to(weights.dtype)
        fractions = (weights.unsqueeze(2) * votes).sum(1)
        return fractions.clamp(min=_LEAST).log()

    def forward(self, embeddings: Tensor) -> Tensor:
        """[N, D] -> [N, classes]."""
        return self.vote(*self.nearest(embeddings, self.neighbors))

    def extra_repr(self) -> str:
        return f"neighbors={self.neighbors}, classes={self.classes}"
