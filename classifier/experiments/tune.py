"""A search for better parameters with Optuna, in which every trial is a DVC experiment.

Optuna: Akiba et al. 2019, https://arxiv.org/abs/1907.10902. Its storage is the one memory of a
study: any number of workers share it, and one that was killed leaves only its trial in flight.
"""

import contextlib
import os
import random
import re
import socket
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classifier.core.csv_files import row_writer
from classifier.core.errors import UserError, not_installed
from classifier.core.params import flatten
from classifier.core.process import alive, identity
from classifier.experiments.dvc_commands import dvc
from classifier.experiments.overrides import check
from classifier.experiments.revisions import experiment_exists, resolve
from classifier.experiments.search_space import Axis
from classifier.experiments.trials import ExperimentRun
from classifier.report.metric_table import LOWER_IS_BETTER, MEANINGS

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

HEARTBEAT = 10  # seconds between two signs of life of a trial, in a database
GRACE = 3 * HEARTBEAT  # seconds without one, after which its worker is dead
OPENINGS = 8  # attempts to open a study
_IN_EACH_OTHERS_WAY = ("IntegrityError", "ProgrammingError", "StorageInternalError")
FAILURES = 3  # in a row, after which something is wrong with more than a trial


@dataclass(frozen=True)
class Search:
    """What is searched: ``axes`` vary, ``fixed`` changes hold for all trials.

    ``metric`` is of validation: a key of metrics/train.json and a column of metrics/history.csv,
    or, without early stops, one that evaluate alone measures.
    """

    name: str
    axes: Sequence[Axis]
    fixed: Mapping[str, Any]
    metric: str
    seed: int
    root: Path

    @property
    def lower(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric.removeprefix("val_") in LOWER_IS_BETTER

    def experiment(self, number: int) -> str:
        """The name of a trial's experiment."""
        return f"tune-{self.name}-{number}"

    def check(self) -> None:
        """Load the sections of params.yaml with the ends of every axis, as the stages will."""
        first = {axis.key: axis.extremes()[0] for axis in self.axes}
        for axis in self.axes:
            for value in axis.extremes():
                check({**self.fixed, **first, axis.key: value}, self.root)


def open_study(search: Search, storage: str, prune: bool, epochs: int) -> "Study":
    """Open the study, or start it with the present parameters as its first trial.

    Args:
        search: its name and metric.
        storage: a database's URL, or the path of a journal file.
        prune: stop trials that do worse than the median of the others at the same epoch.
        epochs: of a whole trial; in the first fifth none is stopped.
    """
    try:
        import optuna
    except ImportError:
        raise not_installed("optuna", "tune") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", "Heartbeat of storage")  # `_run_one` gives the signs of life
    median = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 5))
    study, new = _opened(search, storage, median if prune else optuna.pruners.NopPruner())
    if new:
        present = flatten(_sections(search))
        start = {axis.key: axis.place(present.get(axis.key)) for axis in search.axes}
        if all(value is not None for value in start.values()):
            study.enqueue_trial(start, skip_if_exists=True)
    return study


def _opened(search: Search, place: str, pruner: Any) -> tuple["Study", bool]:
    """The study, and whether it was made here."""
    import optuna

    for attempt in range(1, OPENINGS + 1):
        try:
            storage = _storage(place)
            direction: Any = "minimize" if search.lower else "maximize"
            with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
                return optuna.create_study(
                    study_name=search.name, storage=storage, direction=direction, pruner=pruner
                ), True
            return optuna.load_study(study_name=search.name, storage=storage, pruner=pruner), False
        except ModuleNotFoundError as error:
            raise not_installed(error.name or "psycopg", "tune") from None
        except Exception as error:  # each database has errors of its own
            # Workers that start together on an empty database all make its tables.
            if attempt < OPENINGS and type(error).__name__ in _IN_EACH_OTHERS_WAY:
                time.sleep(attempt * random.random())  # noqa: S311 (keeps workers apart, no secret)
                continue
            shown = re.sub("//[^/]*@", "//", place)  # without a password
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(f"the study at {shown} cannot be opened: {reason}.") from None
    raise AssertionError("the last attempt returns or raises")


def recover(study: "Study", search: Search, log: Path, say: Callable[[str], None]) -> None:
    """Deal with the trials of workers of this machine that were killed.

    One whose experiment was finished all the same is counted; any other is tried again, where
    training goes on from its last checkpoint.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(states=[TrialState.RUNNING]):
        worker = trial.user_attrs
        if worker.get("host") != socket.gethostname() or alive(worker.get("process", [])):
            continue
        name = search.experiment(trial.number)
        ExperimentRun(name, {}, log, search.root).end_orphan()
        if experiment_exists(name, search.root):
            study.tell(trial.number, _result(search, trial.number))
            say(f"{name} was finished by itself")
        else:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
            say(f"{name} was cut off: its parameters are tried again")


def run_trials(
    study: "Study", search: Search, total: int, log: Path, say: Callable[[str], None]
) -> None:
    """Run trials until ``total`` of the study are finished or being run, by whichever worker.

    In a database, whose workers give signs of life, it waits for those being run, and runs again
    what a worker leaves that has died, on whichever machine.

    Raises:
        UserError: several trials failed one after the other.
        KeyboardInterrupt: after the trial in flight was put back.
    """
    from optuna.storages import fail_stale_trials
    from optuna.trial import TrialState

    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    failures = 0
    while True:
        fail_stale_trials(study)
        left = total - len(study.get_trials(states=finished, deepcopy=False))
        running = len(study.get_trials(states=[TrialState.RUNNING], deepcopy=False))
        if left <= 0 or (left <= running and not _has_signs_of_life(study)):
            return
        if left <= running:
            time.sleep(HEARTBEAT / 5)
            continue
        trial = study.ask()
        try:
            say(_run_one(study, trial, search, log))
            failures = 0
        except UserError as error:
            study.tell(trial.number, state=TrialState.FAIL)
            say(str(error))
            failures += 1
            if failures == FAILURES:
                raise UserError(f"{FAILURES} trials in a row failed, the last: {error}") from None
        except KeyboardInterrupt:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
            raise


def _run_one(study: "Study", trial: "Trial", search: Search, log: Path) -> str:
    import optuna
    from optuna.storages._heartbeat import get_heartbeat_thread

    trial.set_user_attr("host", socket.gethostname())
    trial.set_user_attr("process", identity(os.getpid()))
    # Seeded by trial: a search that was cut off goes on as it would have.
    study.sampler = optuna.samplers.TPESampler(
        seed=search.seed * 100_003 + trial.number, multivariate=False
    )
    values = {axis.key: axis.value(axis.suggest(trial)) for axis in search.axes}
    name = search.experiment(trial.number)
    shown = ", ".join(f"{key} {_short(value)}" for key, value in values.items())

    with (
        get_heartbeat_thread(trial._trial_id, study._storage),
        ExperimentRun(name, {**search.fixed, **values}, log, search.root) as run,
    ):
        for row in run.epochs():
            if search.metric not in row and search.metric.removeprefix("val_") in MEANINGS:
                continue  # evaluate will tell it
            trial.report(_metric(search, row, "metrics/history.csv"), int(row["epoch"]))
            if trial.should_prune():
                study.tell(trial.number, state=optuna.trial.TrialState.PRUNED)
                return f"{name}: stopped early ({shown})"
        run.check()
    result = _result(search, trial.number)
    study.tell(trial.number, result)
    return f"{name}: {search.metric} {result:.4f} ({shown})"


def _has_signs_of_life(study: "Study") -> bool:
    from optuna.storages._heartbeat import is_heartbeat_enabled

    return bool(is_heartbeat_enabled(study._storage))


def best(study: "Study") -> "FrozenTrial | None":
    """The best finished trial; None before there is one."""
    try:
        return study.best_trial
    except ValueError:
        return None


def apply(search: Search, number: int) -> None:
    """Bring a trial's experiment into the workspace.

    Raises:
        UserError: DVC refuses.
    """
    name = search.experiment(number)
    if not experiment_exists(name, search.root):
        raise UserError(
            f"{name} is not on this machine or starts from another commit: run "
            f"dvc exp pull origin {name}, then dvc exp apply {name}."
        )
    applied = dvc("exp", "apply", name, root=search.root, quiet=True)
    if applied.returncode:
        raise UserError(f"dvc exp apply {name} failed: {applied.stdout.strip().splitlines()[-1]}")


def importances(study: "Study") -> dict[str, float]:
    """The fraction of the spread of results that each parameter explains; {} before it is known.

    fANOVA: Hutter, Hoos and Leyton-Brown 2014.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    try:
        return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)))
    except (ValueError, RuntimeError):  # too few trials, or all with the same result
        return {}


def write_trials(path: Path, study: "Study", search: Search) -> None:
    """Write number, experiment, state, result and parameters of every trial."""
    keys = [axis.key for axis in search.axes]
    with row_writer(path, ["trial", "experiment", "state", search.metric, *keys]) as write:
        for trial in study.get_trials(deepcopy=False):
            value = "" if trial.value is None else f"{trial.value:.6g}"
            done = search.experiment(trial.number) if trial.state.name == "COMPLETE" else ""
            chosen = [trial.params.get(key, "") for key in keys]
            write([[trial.number, done, trial.state.name.lower(), value, *chosen]])


def _result(search: Search, number: int) -> float:
    revision = resolve(search.experiment(number), search.root)
    metrics = revision.json("metrics/train.json")
    if search.metric in metrics:
        return float(metrics[search.metric])
    figures = revision.json("metrics/details.json").get("val", {})
    found = {f"val_{name}": figure["value"] for name, figure in figures.items()}
    return _metric(search, found, "metrics/details.json")


def _metric(search: Search, found: Mapping[str, Any], source: str) -> float:
    if search.metric not in found:
        raise UserError(f"{source} has no {search.metric}: it has {', '.join(found)}.")
    return float(found[search.metric])


def _sections(search: Search) -> dict[str, Any]:
    from classifier.core.params import PARAMS_FILE, read

    return read(search.root / PARAMS_FILE)


def _storage(place: str) -> Any:
    """A database by its URL, or Optuna's journal, one file that may lie on a shared disk."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import (
        JournalFileBackend,
        JournalFileOpenLock,
        JournalFileSymlinkLock,
    )

    if "://" in place:
        return RDBStorage(
            re.sub("^postgres(ql)?://", "postgresql+psycopg://", place),
            engine_kwargs={"pool_pre_ping": True},  # a trial may outlast a connection
            heartbeat_interval=HEARTBEAT,
            grace_period=GRACE,
            heartbeat_stale_trial_callback=lambda study, trial: study.enqueue_trial(trial.params),
        )
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    # Making links needs special rights on Windows.
    lock = JournalFileOpenLock(place) if os.name == "nt" else JournalFileSymlinkLock(place)
    _end_with_a_line(Path(place), lock)
    return JournalStorage(JournalFileBackend(place, lock_obj=lock))


def _end_with_a_line(journal: Path, lock: Any) -> None:
    """Cut off the line that a kill or a full disk left without its end.

    The next one would be written onto it, and Optuna read nothing of the study any more.
    """
    if not journal.exists() or _is_whole(journal.read_bytes()):
        return
    lock.acquire()
    try:
        content = journal.read_bytes()
        if not _is_whole(content):  # a worker that is writing has the lock
            os.truncate(journal, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _is_whole(content: bytes) -> bool:
    return not content or content.endswith(b"\n")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
