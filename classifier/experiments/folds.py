"""Cross-validation: every fold an experiment, their predictions pooled."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from classifier.core.errors import UserError
from classifier.core.params import PARAMS_FILE, flatten, read
from classifier.core.types import Float64Array, Int64Array
from classifier.core.wording import duration
from classifier.experiments.revisions import Predictions, Revision, names, resolve
from classifier.experiments.trials import POLL, ExperimentRun

SAY_SECONDS = 10.0  # between two lines of how it goes, which say something new


def run_missing(
    experiments: Mapping[str, Mapping[str, Any]], jobs: int, folder: Path, root: Path
) -> None:
    """Run the experiments that are not yet there.

    Stopped or killed and called again, it goes on with what is missing.

    Args:
        experiments: changes of parameters by name.
        jobs: how many run at the same time.
        folder: for what they print.
        root: the project's top folder.

    Raises:
        UserError: one failed, and the others in progress were stopped; or there is one of that
            name with other parameters.
    """
    done = set(experiments) & set(names(root))
    for name in done:
        _same_params(resolve(name, root), experiments[name], root)
        # It may have ended after the process that followed it was killed.
        ExperimentRun(name, experiments[name], folder, root).end_orphan()
    waiting = [name for name in experiments if name not in done]
    running: dict[str, ExperimentRun] = {}
    total, began = len(experiments), time.monotonic()
    said, at, expected = "", -SAY_SECONDS, 0.0  # the last line, and seconds from the start
    with ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < jobs:
                run = ExperimentRun(waiting[0], experiments[waiting.pop(0)], folder, root)
                running[run.name] = stack.enter_context(run)
                at = -SAY_SECONDS
            if (taken := time.monotonic() - began) - at >= SAY_SECONDS:
                at = taken
                ended = total - len(waiting) - len(running)
                parts = [f"{run.name}: {run.now()}" for run in running.values()]
                doing = "; ".join([f"{ended} of {total} folds done", *parts])
                if doing != said:
                    _say(said := doing, expected - taken)
            time.sleep(POLL)
            for name in [name for name, run in running.items() if not run.running()]:
                running.pop(name).check()
                made = total - len(waiting) - len(running) - len(done)
                expected = (time.monotonic() - began) * (total - len(done)) / made
    _say(f"{total} of {total} folds done", 0)


def _say(doing: str, left: float) -> None:
    """A line, also in a terminal: a log that is read later says what took how long."""
    ending = f"; about {duration(left)} left" if left > 0 else ""
    print(doing + ending, file=sys.stderr, flush=True)


def _same_params(revision: Revision, changes: Mapping[str, Any], root: Path) -> None:
    wanted = flatten(read(root / PARAMS_FILE)) | dict(changes)
    for key, value in revision.params.items():
        if key in wanted and wanted[key] != value:
            raise UserError(
                f"there is an experiment {revision.name!r} with {key} = {value}, not "
                f"{wanted[key]}: give these folds another name with -n."
            )


def pooled(folds: Sequence[Predictions]) -> Predictions:
    """The validation predictions of all folds as one: each image judged by a model that it did
    not train (but that it helped to choose the epoch of, which flatters a little).

    Raises:
        UserError: the classes differ, or an image is in two folds.
    """
    first = folds[0]
    if any(part.classes != first.classes for part in folds):
        raise UserError("the folds have different classes: run them with the same data.")
    ids = np.concatenate([part.ids for part in folds])
    if len(set(ids.tolist())) < len(ids):
        raise UserError("an image is in two of the folds: run them with the same data and seed.")
    return Predictions(
        name=first.name,
        params=first.params,
        split=first.split,
        classes=first.classes,
        ids=ids,
        labels=np.concatenate([part.labels for part in folds]),
        logits=np.concatenate([part.logits for part in folds]),
    )


def out_of_fold_order(whole: Predictions) -> Int64Array:
    """The rows of pooled predictions by ascending id: the order of out_of_fold.csv."""
    return np.argsort(whole.ids, kind="stable")  # other kinds crash NumPy 2.4 on long StringDType


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a figure over the folds (n - 1 in the denominator)."""
    array: Float64Array = np.array(values, float)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else float("nan")
