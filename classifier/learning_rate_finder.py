"""Which learning rate? Raise it from tiny to huge over one short run, and look where loss falls.

Smith 2017, Cyclical Learning Rates for Training Neural Networks, 3.3; the smoothing and the stop
are those of Howard's fastai.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from classifier import transfer
from classifier.augment import Augmenter, AugmentParams
from classifier.batches import Batches, standardise, to_unit
from classifier.device import choose_device, choose_numerics
from classifier.errors import UserError
from classifier.imbalance import class_weights, epoch_order, image_losses
from classifier.model_summary import summary
from classifier.models import ModelParams, build
from classifier.optimizers import build_optimizer
from classifier.prepare import PreparedData
from classifier.seeding import derive, generator
from classifier.training import TrainParams

MEMORY = 0.95  # share that the smoothed loss keeps at each step: an average over about 20
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

    Everything but the schedule is as in training: optimizer, augmentation, smoothing, weights.

    Raises:
        UserError: the loss falls nowhere, so that there is nothing to suggest.
    """
    device = choose_device(params.device)
    spec = transfer.plan(model, data.meta)
    classes, labels = len(spec.classes), data.labels("train")
    torch.manual_seed(derive(params.seed, "weights"))
    network = build(
        spec.name,
        spec.args,
        classes=classes,
        channels=spec.channels,
        image_size=spec.image_size,
    )
    transfer.load_weights(network, model, spec)
    cost = summary(spec.name, network, spec.channels, spec.image_size)["multiply_adds"]
    numerics = choose_numerics(device, params.precision, params.channels_last, False, cost)
    if numerics.threads:
        torch.set_num_threads(numerics.threads)
    transfer.fit_weights(network, model, spec, data.images("train"))
    transfer.freeze(network, model)
    network.to(device).to(memory_format=numerics.layout).train()
    optimizer = build_optimizer(
        network,
        params.optimizer,
        lr=1.0,
        weight_decay=params.weight_decay,
        momentum=params.momentum,
        betas=(params.beta1, params.beta2),
        backbone_lr_factor=params.backbone_lr_factor,
    )
    scaler = torch.amp.GradScaler(device.type, enabled=numerics.precision == "fp16")
    batches = Batches(data.images("train"), labels, device, params.data)
    augmenter = Augmenter(augment, spec.image_size, spec.channels, data.meta["mean"])
    weight = class_weights(params.class_weights, labels, spec.classes, params.sampler, device)
    size = min(params.batch_size, len(labels))

    rates: list[float] = []
    losses: list[float] = []
    average, epoch = 0.0, 0
    while len(rates) < steps:
        order = epoch_order(labels, params.sampler, classes, generator(params.seed, "order", epoch))
        for pixels, targets, rows in batches.epoch(order, size):
            step = len(rates)
            rate = lowest * (highest / lowest) ** (step / (steps - 1))
            for group in optimizer.param_groups:
                group["lr"] = rate * group["initial_lr"]
            random = generator(params.seed, "augment", step)
            inputs = augmenter(to_unit(pixels), random, rows, epoch)
            inputs = standardise(inputs, spec.mean, spec.std)
            inputs, aims = augmenter.mix(inputs, F.one_hot(targets, classes).float(), random)
            optimizer.zero_grad()
            with torch.autocast(device.type, numerics.autocast, numerics.mixed):
                logits = network(inputs.contiguous(memory_format=numerics.layout)).float()
            loss = image_losses(logits, aims, weight, params.label_smoothing).mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            average = MEMORY * average + (1 - MEMORY) * loss.item()
            smooth = average / (1 - MEMORY ** (step + 1))
            if not math.isfinite(smooth) or (losses and smooth > DIVERGED * min(losses)):
                return Found(rates, losses, suggest(rates, losses))
            rates.append(rate)
            losses.append(smooth)
            if len(rates) == steps:
                break
        epoch += 1
    return Found(rates, losses, suggest(rates, losses))


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
    from classifier.figures import style

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
