"""Cross-validation: every fold an experiment of DVC's queue, their predictions pooled."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.errors import UserError
from classifier.overrides import dvc, flags
from classifier.params import PARAMS_FILE, flatten, read
from classifier.revisions import Predictions, Revision, names, queue_states, resolve

POLL = 1.0  # seconds between two looks at the queue
PATIENCE = 60.0  # seconds that the queue may stand still before its workers are started again


def run_queued(experiments: Mapping[str, Mapping[str, Any]], jobs: int, root: Path) -> None:
    """Queue the experiments that are not yet there, run them, and wait for the last one.

    Killed and called again, it goes on with what is missing.

    Args:
        experiments: changes of parameters by name.
        jobs: how many run at the same time.
        root: the project's top folder.

    Raises:
        UserError: one failed, or there is one of that name with other parameters.
    """
    done = {name for name in experiments if name in names(root)}
    for name in done:
        _same_params(resolve(name, root), experiments[name], root)
    states = queue_states(root)
    for name, changes in experiments.items():
        if name in done or states.get(name) in ("queued", "running"):
            continue
        if states.get(name) == "failed":
            dvc("queue", "remove", name, root=root, quiet=True)
        queued = dvc("exp", "run", "--queue", "-n", name, *flags(changes), root=root, quiet=True)
        if queued.returncode:
            raise UserError(f"experiment {name} cannot be queued: {_last_line(queued.stdout)}")
    _wait(set(experiments) - done, len(experiments), jobs, root)


def _wait(waiting: set[str], total: int, jobs: int, root: Path) -> None:
    moved, shown, starts = 0.0, None, 0
    while waiting:
        done = waiting & set(names(root))
        states = queue_states(root)
        waiting -= done
        running = [name for name in waiting if states.get(name) == "running"]
        now = (len(waiting), len(running))
        if now != shown:
            print(f"{total - now[0]} of {total} done, {now[1]} running", file=sys.stderr)
            shown, moved = now, time.monotonic()
        failed = sorted(name for name in waiting if states.get(name) == "failed")
        if failed:
            raise UserError(f"experiment {failed[0]} failed: see dvc queue logs {failed[0]}.")
        gone = sorted(waiting - set(states) - set(names(root)))
        if gone:
            raise UserError(f"experiment {gone[0]} was taken out of the queue: run this again.")
        # DVC's workers are known to stop early now and then.
        if waiting and not running and (not starts or time.monotonic() - moved > PATIENCE):
            if starts > 3:
                raise UserError("DVC's queue stands still: run dvc queue start, then this again.")
            dvc("queue", "start", "-j", str(jobs), root=root, quiet=True)
            starts, moved = starts + 1, time.monotonic()
        if waiting:
            time.sleep(POLL)


def _same_params(revision: Revision, changes: Mapping[str, Any], root: Path) -> None:
    wanted = flatten(read(root / PARAMS_FILE)) | dict(changes)
    for key, value in revision.params.items():
        if key in wanted and wanted[key] != value:
            raise UserError(
                f"there is an experiment {revision.name!r} with {key} = {value}, not "
                f"{wanted[key]}: give these folds another name with -n."
            )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def pooled(folds: Sequence[Predictions]) -> Predictions:
    """The validation predictions of all folds as one: each picture judged by a model that it did
    not train (but that it helped to choose the epoch of, which flatters a little).

    Raises:
        UserError: the classes differ, or a picture is in two folds.
    """
    first = folds[0]
    if any(part.classes != first.classes for part in folds):
        raise UserError("the folds have different classes: run them with the same data.")
    ids = np.concatenate([part.ids for part in folds])
    if len(np.unique(ids)) < len(ids):
        raise UserError("a picture is in two of the folds: run them with the same data and seed.")
    return Predictions(
        revision=first.revision,
        split=first.split,
        classes=first.classes,
        ids=ids,
        labels=np.concatenate([part.labels for part in folds]),
        logits=np.concatenate([part.logits for part in folds]),
    )


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a figure over the folds (n - 1 in the denominator)."""
    array: npt.NDArray[np.float64] = np.array(values, float)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else float("nan")
