"""Which learning rate? Raise it from tiny to huge over one short run, and look where loss falls.

Smith 2017, Cyclical Learning Rates for Training Neural Networks, 3.3; the smoothing and the stop
are those of Howard's fastai.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.dataset.prepared import PreparedData
from classifier.models.registry import ModelParams
from classifier.training.batches import Batch
from classifier.training.distributed import Ranks
from classifier.training.params import TrainParams
from classifier.training.session import Session

MEMORY = 0.95  # fraction that the smoothed loss keeps at each step: an average over about 20
DIVERGED = 4.0  # times the least loss
MARGIN = 10.0  # the suggestion is this far below the rate with the least loss: Smith's and fastai's


@dataclass(frozen=True)
class Found:
    """The curve, and the rate to try. ``rates`` and ``losses`` have one value a step."""

    rates: list[float]
    losses: list[float]
    """smoothed"""
    suggestion: float


def find_learning_rate(
    params: TrainParams,
    model: ModelParams,
    augment: AugmentParams,
    data: PreparedData,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
) -> Found:
    """Train for ``steps`` steps, the learning rate rising in equal ratios, and watch the loss.

    Everything but the schedule is as in training, from its first step on.

    Raises:
        UserError: the loss falls nowhere, so that there is nothing to suggest; or parameters do not
            fit the data or the machine.
    """
    # Steps this few are not worth compiling for, and nobody asks for the average of their weights.
    params = dataclasses.replace(params, lr=1.0, ema_decay=0.0, compile=False)
    session = Session(params, model, augment, data, Ranks())
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for number, batch in itertools.islice(_batches(session), steps):
        rate = lowest * (highest / lowest) ** (number / (steps - 1))
        loss = session.step(number, batch, rate)[0].item() / session.batch_size
        average = MEMORY * average + (1 - MEMORY) * loss
        smooth = average / (1 - MEMORY ** (number + 1))
        if not math.isfinite(smooth) or (losses and smooth > DIVERGED * min(losses)):
            break
        rates.append(rate)
        losses.append(smooth)
    return Found(rates, losses, suggest(rates, losses))


def _batches(session: Session) -> Iterator[tuple[int, Batch]]:
    for epoch in itertools.count():
        yield from session.epoch(epoch)


def suggest(rates: list[float], losses: list[float]) -> float:
    """A tenth of the rate with the least loss, with two significant digits.

    At the least loss itself the curve is about to turn: a whole run there would diverge.
    """
    if len(losses) < 10 or min(losses) > 0.95 * losses[0]:
        raise UserError(
            "the loss falls at no learning rate: look at the data and the augmentation first, or"
            " try --steps 500 or a larger range."
        )
    best = rates[int(np.argmin(losses))]
    return float(f"{best / MARGIN:.2g}")


def draw(found: Found, path: Path) -> None:
    """Save the curve as a PNG, the suggestion marked."""
    from classifier.report.figures import style

    figure = style.new_figure(height=3.8)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color=style.TRAIN)
    axes.axvline(found.suggestion, color=style.VERMILLION, linestyle=(0, (4, 3)))
    axes.annotate(
        f"suggested: {found.suggestion:g}",
        (found.suggestion, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(6, 0),
        textcoords="offset points",
        va="top",
        color=style.VERMILLION,
    )
    axes.set_xscale("log")
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.5 * found.losses[0]))
    axes.set_title("Loss while the learning rate rises")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss, smoothed")
    style.save(figure, path)
