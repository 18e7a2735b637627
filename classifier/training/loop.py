"""The training loop: one function, `train`, to be read from top to bottom.

`classifier.training.session` has the set-up and what one step does.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from classifier.augment.augmenter import AugmentParams
from classifier.dataset.prepared import PreparedData
from classifier.models.registry import ModelParams
from classifier.training.distributed import Ranks
from classifier.training.optimization.schedules import Schedule
from classifier.training.params import TrainParams
from classifier.training.record import Record, Row, Trained
from classifier.training.run.checkpoint import Checkpoints
from classifier.training.run.failures import checked
from classifier.training.run.interrupt import Interrupt
from classifier.training.run.progress import Progress
from classifier.training.run.tensorboard import Board
from classifier.training.session import Session
from classifier.training.validation import validation_scores


def train(
    params: TrainParams,
    model: ModelParams,
    augment: AugmentParams,
    data: PreparedData,
    *,
    session_of: Callable[..., Session] = Session,
    start: Callable[[Session], object] = lambda session: None,
    checkpoints: Checkpoints | None = None,
    on_epoch: Callable[[list[Row]], None] = lambda history: None,
    board: Board | None = None,
    say: Callable[[str], None] = print,
) -> Trained:
    """Train a network on the train split and keep the epoch that is best on the val split.

    On the CPU the result depends on the first four arguments and, where numerics are not portable,
    on the kind of CPU and the number of threads alone, to the bit, however often the run was killed
    and taken up again.
    Each random draw comes from a generator that is seeded for its purpose and step, so there is no
    random state to save.

    Args:
        session_of: what makes the session, of the first four arguments and the ranks.
        start: gives the network of a run that begins other first weights.
        checkpoints: where the state of the run is kept, and looked for first.
        on_epoch: called with the whole history after every epoch, and after a state is taken up.
        board: TensorBoard's files, when they are wanted.
        say: called with the few lines that are worth reading.

    With several ranks only the first one calls these, and each one returns the same.

    Raises:
        UserError: the loss is not a number, or parameters do not fit the data or the machine.
        KeyboardInterrupt: after Ctrl-C, SIGTERM or SIGHUP, with the state saved.
    """
    ranks = Ranks()
    session = session_of(params, model, augment, data, ranks)
    run = _Run(session, params, checkpoints)
    record, schedule, steps = run.record, run.schedule, session.steps
    tta = session.scored.test_time_augmentation
    session.scored.test_time_augmentation = "none"  # enough to compare epochs
    val_labels = data.labels("val")
    if ranks.first:
        say(session.describe())
        for line in session.remarks():
            say(line)
    if not run.taken_up(say):
        start(session)
        session.average_begins()
    elif ranks.first:
        on_epoch(record.history)

    progress = Progress(
        params.epochs,
        steps * session.batch_size,
        (run.epoch * steps + run.step) * session.batch_size,
        ranks.size,
        say if ranks.first else None,
    )
    with progress, Interrupt() as interrupt:
        while run.epoch < params.epochs and not record.waited(params.patience):
            for number, batch in session.epoch(run.epoch, run.step):
                run.sums += session.step(number, batch, schedule.factor(number))
                progress.step(session.batch_size, run.sums)
                run.step += 1
                if run.step < steps:
                    run.stop_or_save(interrupt.asked)

            # --- the epoch's scores
            totals = checked(ranks.sum(run.sums), run.epoch, params.lr, params.weight_decay)
            loss, accuracy = (totals / (steps * session.batch_size)).tolist()
            scores = validation_scores(session.val_logits(session.numerics.autocast), val_labels)
            checked(torch.tensor(scores["loss"]), run.epoch, params.lr, params.weight_decay)
            better = record.add(loss, accuracy, scores, session.optimizer.param_groups[0]["lr"])
            schedule.epoch_ended(better)
            if better:
                record.keep(session.scored)
            progress.epoch(record.history[-1])
            if ranks.first:
                on_epoch(record.history)
            if board:
                board.write(record.history[-1], session.network, session.inputs)
            run.epoch, run.step = run.epoch + 1, 0
            run.sums.zero_()
            run.stop_or_save(interrupt.asked)

    progress.end(record.best_epoch, session.batches.waited)
    session.scored.load_state_dict(record.best_weights)
    session.scored.test_time_augmentation = tta
    return session.result(session.scored, record, session.val_logits(), val_labels)


class _Run:
    """Where a run stands: its place, and the parts whose states are saved to go on from there.

    Attributes:
        epoch: the number of epochs that are over.
        step: the number of steps that are over in the present one.
        sums: of these in this rank: loss, right answers; float [2].
    """

    def __init__(
        self, session: Session, params: TrainParams, checkpoints: Checkpoints | None
    ) -> None:
        self.session, self.params, self.checkpoints = session, params, checkpoints
        self.epoch = self.step = 0
        self.sums = torch.zeros(2, device=session.device)
        self.record = Record(params.monitor)
        steps = session.steps
        self.schedule = Schedule(
            params.schedule,
            steps * params.epochs,
            steps,
            round(params.warmup_epochs * steps),
            params.gamma,
            params.step_epochs,
            params.plateau_patience,
        )
        self._parts: dict[str, Any] = {
            "network": session.network,
            "optimizer": session.optimizer,
            "scaler": session.scaler,
            "schedule": self.schedule,
            "record": self.record,
        }
        if session.average:
            self._parts["average"] = session.average

    def taken_up(self, say: Callable[[str], None]) -> bool:
        """Whether there was a saved state to go on from; then the run is there."""
        session, ranks = self.session, self.session.ranks
        state = ranks.same(self.checkpoints.load() if self.checkpoints and ranks.first else None)
        if not state:
            return False
        self.epoch, self.step = state["epoch"], state["step"]
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        self.sums += state["sums"].to(session.device) / ranks.size
        threads = state["threads"]
        if session.numerics.threads != threads:  # taken up on a machine with other cores
            session.numerics = replace(session.numerics, threads=threads)
            torch.set_num_threads(threads)
            if ranks.first:
                say(f"computing in {threads} CPU threads, as this run began")
        if ranks.first:
            ended = self.epoch == self.params.epochs or self.record.waited(self.params.patience)
            next_batch = f"with epoch {self.epoch + 1}, batch {self.step + 1}"
            say(f"going on {'after the last epoch' if ended else next_batch}")
        return True

    def stop_or_save(self, asked: bool) -> None:
        """Keep the state when it is time to; where ``asked`` for in any rank, keep it and stop."""
        ranks, checkpoints = self.session.ranks, self.checkpoints
        due = checkpoints is not None and checkpoints.due(epoch_ended=self.step == 0)
        stop, save = ranks.any(asked, due and ranks.first)
        if stop or save:
            lr, weight_decay = self.params.lr, self.params.weight_decay
            total = checked(ranks.sum(self.sums.clone()), self.epoch, lr, weight_decay).cpu()
            if checkpoints and ranks.first:
                states = {name: part.state_dict() for name, part in self._parts.items()}
                states |= {"epoch": self.epoch, "step": self.step, "sums": total}
                checkpoints.save({**states, "threads": self.session.numerics.threads})
        if stop:
            place = f"in epoch {self.epoch + 1}" if self.step else f"after epoch {self.epoch}"
            raise KeyboardInterrupt(
                f"train stopped {place} of {self.params.epochs}; run the same command again to go"
                " on from there."
            )
