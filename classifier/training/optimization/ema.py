"""An exponential moving average (EMA) of a network's weights, which scores better than the weights.

Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging".
"""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

_Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """The average of a network's weights and buffers, at first those that it has now.

    ``update_parameters`` moves it towards the present ones. The n-th time it keeps ``decay`` of
    what it is, or (1 + n) / (10 + n) where that is less: what comes early is far from the end.
    """

    def move(kept: _Tensors, present: _Tensors, _count: Tensor | int) -> None:
        if kept[0].is_floating_point():
            count = int(average.n_averaged)  # on the CPU: to read ``_count`` is to wait for the GPU
            keep = min(decay, (1 + count) / (10 + count))
            torch._foreach_lerp_(kept, present, 1 - keep)
        else:  # a count of batches has no average
            torch._foreach_copy_(kept, present)

    average = AveragedModel(network, multi_avg_fn=move, use_buffers=True)
    average.n_averaged.fill_(1)  # at 0, the first update would forget the present weights
    return average
