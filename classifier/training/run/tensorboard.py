"""Files for TensorBoard: scalars, the graph, histograms, sample activations."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from classifier.core.errors import not_installed

SAMPLES = 8  # images whose activations are shown
MAPS = 16  # channels of each stage that are shown


class Board:
    """Writes into one folder, to be read with ``tensorboard --logdir``."""

    def __init__(self, folder: Path) -> None:
        """Open ``folder``; UserError when tensorboard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise not_installed("tensorboard", "tensorboard") from None
        self.writer = SummaryWriter(str(folder))
        self.drawn = False

    def write(self, row: dict[str, float], network: nn.Module, inputs: Tensor) -> None:
        """Add one epoch: its scores, weights and gradients, and what ``inputs`` bring about.

        Args:
            network: with the gradients of the last step.
            inputs: float [N,C,H,W], standardized.
        """
        epoch = int(row["epoch"])
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, epoch)
        for name, parameter in network.named_parameters():
            self.writer.add_histogram(f"weights/{name}", parameter.detach().cpu(), epoch)
            if parameter.grad is not None:
                self.writer.add_histogram(f"gradients/{name}", parameter.grad.cpu(), epoch)
        training = network.training
        network.eval()
        with torch.no_grad():
            if not self.drawn:
                # TensorBoard's writer traces in a deprecated way, and for this size alone.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", FutureWarning)
                    warnings.simplefilter("ignore", torch.jit.TracerWarning)
                    self.writer.add_graph(network, inputs[:1])
                self.drawn = True
            self._activations(network, inputs[:SAMPLES], epoch)
        network.train(training)
        self.writer.flush()

    def _activations(self, network: nn.Module, inputs: Tensor, epoch: int) -> None:
        """A sheet for each stage: a row for each image, a column for each channel."""
        maps = inputs
        for name, stage in network.get_submodule("backbone").named_children():
            maps = stage(maps)
            if not isinstance(maps, Tensor) or maps.ndim != 4:
                return
            shown = maps[:, :MAPS].float().cpu()
            low, high = shown.amin((2, 3), keepdim=True), shown.amax((2, 3), keepdim=True)
            shown = (shown - low) / (high - low + 1e-8)
            sheet = shown.permute(0, 2, 1, 3).flatten(0, 1).flatten(1)
            self.writer.add_image(f"activations/{name}", sheet.unsqueeze(0), epoch)

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()
