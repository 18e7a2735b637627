"""The training loop: one function, `train`, to be read from top to bottom."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from torch import nn
from torch.nn import functional as F

from classifier import transfer
from classifier.augment import Augmenter, AugmentParams
from classifier.batches import Batches, predict_logits, standardise, to_unit
from classifier.board import Board
from classifier.checkpoint import Checkpoints, interval
from classifier.device import (
    DeviceName,
    PrecisionName,
    choose_device,
    choose_numerics,
    make_deterministic,
)
from classifier.distributed import Ranks
from classifier.errors import UserError
from classifier.failures import checked
from classifier.imbalance import (
    ClassWeights,
    Sampler,
    class_weights,
    epoch_order,
    image_losses,
)
from classifier.interrupt import Interrupt
from classifier.model_summary import summary
from classifier.models import ModelParams, build
from classifier.optimizers import OptimizerName, WeightAverage, build_optimizer
from classifier.prepare import PreparedData
from classifier.progress import Progress
from classifier.resolution import Growth, shrunk
from classifier.schedules import Schedule, ScheduleName
from classifier.seeding import derive, generator
from classifier.trained import Record, Row, Trained
from classifier.validation import Monitor, validation_scores

Fraction = Annotated[float, Interval(ge=0, lt=1)]


@dataclass(frozen=True)
class TrainParams:
    """The section ``train`` of params.yaml, which says what each key means."""

    lr: Annotated[float, Gt(0)]
    epochs: Annotated[int, Ge(1)]
    batch_size: Annotated[int, Ge(1)]
    optimizer: OptimizerName
    seed: Annotated[int, Ge(0)]
    weight_decay: Annotated[float, Ge(0)] = 0.0
    momentum: Fraction = 0.9
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    backbone_lr_factor: Annotated[float, Gt(0)] = 1.0
    schedule: ScheduleName = "constant"
    warmup_epochs: Annotated[float, Ge(0)] = 0.0
    gamma: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    step_epochs: Annotated[float, Gt(0)] = 10.0
    plateau_patience: Annotated[int, Ge(0)] = 3
    label_smoothing: Fraction = 0.0
    first_scale: Annotated[float, Interval(gt=0, le=1)] = 1.0
    full_scale_from: Fraction = 0.5
    side_step: Annotated[int, Ge(1)] = 2
    class_weights: ClassWeights = "none"
    sampler: Sampler = "shuffle"
    clip_norm: Annotated[float, Gt(0)] | None = None
    accumulate: Annotated[int, Ge(1)] = 1
    average_decay: Fraction = 0.0
    monitor: Monitor = "accuracy"
    patience: Annotated[int, Ge(1)] | None = None
    device: DeviceName = "auto"
    precision: PrecisionName = "auto"
    channels_last: Literal["auto", True, False] = "auto"
    compile: Literal["auto", True, False, "graphs"] = "auto"
    data: Literal["auto", "resident", "stream"] = "auto"
    deterministic: bool = False
    processes: Annotated[int, Ge(1)] = 1
    checkpoint_every: str = "1 epoch"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        interval(self.checkpoint_every)
        if self.batch_size % (self.processes * self.accumulate):
            raise UserError(
                f"train.batch_size: {self.batch_size} is not a multiple of train.processes times"
                f" train.accumulate ({self.processes * self.accumulate}): change one of them."
            )


def train(
    params: TrainParams,
    model: ModelParams,
    augment: AugmentParams,
    data: PreparedData,
    *,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[list[Row]], None] = lambda history: None,
    board: Board | None = None,
    say: Callable[[str], None] = print,
) -> Trained:
    """Train a network on the train split and keep the epoch that is best on the val split.

    On the CPU the result depends on the first four arguments and, for networks that are not small,
    on the number of threads alone, to the bit, however often the run was killed and taken up again.
    Each random draw comes from a generator that is seeded for its purpose and step, so there is no
    random state to save.

    Args:
        checkpoints: where the state of the run is kept, and looked for first.
        on_epoch: called with the whole history after every epoch, and after a state is taken up.
        board: TensorBoard's files, when they are wanted.
        say: called with the few lines that are worth reading.

    With several ranks only the first one calls these, and each one returns the same.

    Raises:
        UserError: the loss is not a number, or parameters do not fit the data or the machine.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, with the state saved.
    """
    ranks = Ranks()
    device = choose_device(params.device)
    make_deterministic(device, params.deterministic)
    labels, val_labels = data.labels("train"), data.labels("val")
    val_images = data.images("val")[ranks.part(len(val_labels))]

    pieces = ranks.size * params.accumulate
    batch_size = min(params.batch_size, len(labels)) // pieces * pieces
    if batch_size == 0:
        raise UserError(f"{len(labels)} pictures cannot be trained on in {pieces} parts at a time.")
    steps = len(labels) // batch_size  # an epoch leaves out what does not fill its last batch

    # --- the network, and the numbers it is computed in
    spec = transfer.plan(model, data.meta)
    classes = len(spec.classes)
    torch.manual_seed(derive(params.seed, "weights"))
    shape = {"classes": classes, "channels": spec.channels, "image_size": spec.image_size}
    network = build(spec.name, spec.args, **shape)
    growth = Growth(spec.image_size, params.first_scale, params.full_scale_from, params.side_step)
    growth.check(network, spec.name, spec.channels, batch_size // params.accumulate)
    transfer.load_weights(network, model, spec)
    facts = summary(spec.name, network, spec.channels, spec.image_size)
    numerics = choose_numerics(
        device, params.precision, params.channels_last, params.compile, facts["multiply_adds"]
    )
    if numerics.threads:
        torch.set_num_threads(numerics.threads)
    transfer.fit_weights(network, model, spec, data.images("train"))
    network.to(device).to(memory_format=numerics.layout)
    ranks.share_batch_statistics(network, device)
    mode = "reduce-overhead" if numerics.graphs else "default"
    forward = torch.compile(network, mode=mode) if numerics.compile else network

    # --- the data
    batches = Batches(data.images("train"), labels, device, params.data)
    augmenter = Augmenter(augment, spec.image_size, spec.channels, data.meta["mean"])

    # --- what changes the weights
    optimizer = build_optimizer(
        network,
        params.optimizer,
        lr=params.lr,
        weight_decay=params.weight_decay,
        momentum=params.momentum,
        betas=(params.beta1, params.beta2),
        backbone_lr_factor=params.backbone_lr_factor,
    )
    scaler = torch.amp.GradScaler(device.type, enabled=numerics.precision == "fp16")
    schedule = Schedule(
        params.schedule,
        steps * params.epochs,
        steps,
        round(params.warmup_epochs * steps),
        params.gamma,
        params.step_epochs,
        params.plateau_patience,
    )
    class_weight = class_weights(params.class_weights, labels, spec.classes, params.sampler, device)
    average = WeightAverage(network, params.average_decay)
    scored = copy.deepcopy(network) if average.active else network  # for validation and the file
    views, scored.views = scored.views, "one"  # enough to compare epochs
    if ranks.first:
        say(
            f"{device.type}, {numerics}; {facts['parameters']:,} parameters; {len(labels):,}"
            f" pictures {'on the device' if batches.resident else 'streamed'}, {steps} batches of"
            f" {batch_size}" + (f" in {ranks.size} processes" if ranks.size > 1 else "")
        )
        if params.class_weights == params.sampler == "balanced":
            say("warning: train.sampler balances the classes: train.class_weights changes nothing.")

    # --- where the run stands, and what it needs to go on
    record = Record(params.monitor)
    sums = torch.zeros(2, device=device)  # of this epoch in this rank: loss, right answers
    first_epoch = first_step = 0
    parts: dict[str, Any] = {
        "network": network,
        "optimizer": optimizer,
        "scaler": scaler,
        "schedule": schedule,
        "average": average,
        "record": record,
    }
    state = ranks.same(checkpoints.load() if checkpoints and ranks.first else None)
    if state:
        first_epoch, first_step = state["epoch"], state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
        sums += state["sums"].to(device) / ranks.size
        if numerics.threads != state["threads"]:  # taken up on a machine with other cores
            numerics = replace(numerics, threads=state["threads"])
            torch.set_num_threads(numerics.threads)
            if ranks.first:
                say(f"computing in {numerics.threads} CPU threads, as this run began")
        if ranks.first:
            ended = first_epoch == params.epochs or record.waited(params.patience)
            next_batch = f"with epoch {first_epoch + 1}, batch {first_step + 1}"
            say(f"going on {'after the last epoch' if ended else next_batch}")
            on_epoch(record.history)

    def val_logits(autocast: torch.dtype | None = None) -> np.ndarray:
        """Of all val pictures, as many at a time as a training step could hold."""
        size = batch_size // pieces
        part = predict_logits(scored, val_images, spec.mean, spec.std, device, size, autocast)
        return ranks.gather(part)

    def stop_or_save(epoch: int, step: int) -> None:
        """Keep the state before ``step`` (from 0) when it is time to; answer Ctrl-C."""
        due = checkpoints is not None and checkpoints.due(epoch_ended=step == 0)
        stop, save = ranks.any(interrupt.asked, due and ranks.first)
        if stop or save:
            total = checked(ranks.sum(sums.clone()), epoch, params.lr).cpu()
            if checkpoints and ranks.first:
                where = {"epoch": epoch, "step": step, "sums": total, "threads": numerics.threads}
                states = {name: part.state_dict() for name, part in parts.items()}
                checkpoints.save({**where, **states})
        if stop:
            place = f"in epoch {epoch + 1}" if step else f"after epoch {epoch}"
            raise KeyboardInterrupt(
                f"train stopped {place} of {params.epochs}; run the same command again to go on"
                " from there."
            )

    progress = Progress(
        params.epochs,
        steps * batch_size,
        (first_epoch * steps + first_step) * batch_size,
        ranks.size,
        say if ranks.first else None,
    )
    with progress, Interrupt() as interrupt:
        for epoch in range(first_epoch, params.epochs):
            if record.waited(params.patience):
                break
            transfer.freeze(network, model, epoch)
            network.train()
            random = generator(params.seed, "order", epoch)
            order = epoch_order(labels, params.sampler, classes, random)
            rest = batches.epoch(order, batch_size, first_step)
            for step, (pixels, targets, rows) in enumerate(rest, first_step):
                number = epoch * steps + step
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * schedule.factor(number)

                # Every rank augments the whole batch and then takes its part, so that the pictures
                # are the same for any number of ranks; this costs a few percent of a step.
                random = generator(params.seed, "augment", number)
                inputs = augmenter(to_unit(pixels), random, rows, epoch)
                inputs = standardise(inputs, spec.mean, spec.std)
                done = number / (steps * params.epochs)
                inputs = shrunk(inputs, growth.size(done))
                aims = targets
                if augmenter.mixes:
                    aims = F.one_hot(targets, classes).to(inputs.dtype)
                    inputs, aims = augmenter.mix(inputs, aims, random)

                torch.manual_seed(derive(params.seed, "dropout", number, ranks.rank))
                optimizer.zero_grad()
                ours = [whole[ranks.part(batch_size)] for whole in (inputs, aims, targets)]
                for x, aim, target in zip(*(t.chunk(params.accumulate) for t in ours), strict=True):
                    x = x.contiguous(memory_format=numerics.layout)
                    with torch.autocast(device.type, numerics.autocast, numerics.mixed):
                        logits = forward(x).float()
                    losses = image_losses(logits, aim, class_weight, params.label_smoothing)
                    scaler.scale(losses.sum() / batch_size).backward()
                    right = (logits.argmax(1) == target).sum()
                    sums += torch.stack([losses.detach().sum(), right])
                ranks.sum_gradients(network)
                if params.clip_norm:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(network.parameters(), params.clip_norm)
                scaler.step(optimizer)
                scaler.update()
                average.update(network)
                progress.step(batch_size, sums)
                if step + 1 < steps:
                    stop_or_save(epoch, step + 1)

            # --- the epoch's scores
            totals = checked(ranks.sum(sums), epoch, params.lr) / (steps * batch_size)
            first_step = 0
            sums.zero_()
            if average.active:
                scored.load_state_dict(average.values)
            scores = validation_scores(val_logits(numerics.autocast), val_labels)
            checked(torch.tensor(scores["loss"]), epoch, params.lr)
            loss, accuracy = totals.tolist()
            better = record.add(loss, accuracy, scores, optimizer.param_groups[0]["lr"])
            schedule.epoch_ended(better)
            if better:
                record.keep(scored)
            progress.epoch(record.history[-1])
            if ranks.first:
                on_epoch(record.history)
            if board:
                board.write(record.history[-1], network, x)
            stop_or_save(epoch + 1, 0)

    progress.end(record.best_epoch, batches.waited)
    scored.load_state_dict(record.best_weights)
    scored.views = views
    logits = val_logits()
    return Trained(
        scored.cpu(),
        spec,
        facts,
        record.history,
        record.best_epoch,
        logits,
        np.array(val_labels),
        numerics.threads,
    )
