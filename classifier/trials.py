"""One experiment in a temporary folder, watched while it runs."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from classifier.errors import UserError
from classifier.overrides import environment, flags

POLL = 0.5  # seconds between two looks
GRACE = 30.0  # seconds in which an interrupted experiment may save its state and leave
LOCKED = "Unable to acquire lock"
ATTEMPTS = 5  # to start while another DVC command holds the lock

Watch = Callable[[int, float], bool]  # (epoch, value) -> go on?


def run_trial(
    name: str,
    changes: Mapping[str, Any],
    column: str,
    watch: Watch,
    started: Callable[[int], None],
    log: Path,
    root: Path,
) -> bool:
    """Run `dvc exp run --temp` and call ``watch`` after every epoch of its training.

    Args:
        name: of the experiment.
        changes: values by full key.
        column: of metrics/history.csv, that ``watch`` is told.
        watch: returns False to have the experiment stopped.
        started: told the process's id.
        log: a file for what the experiment prints.
        root: the project's top folder.

    Returns:
        False when ``watch`` stopped it.

    Raises:
        UserError: the experiment failed; the sentence holds its last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-n", name, *flags(changes)],
                cwd=root,
                env={**environment(), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that it can be stopped with all that it started
                preexec_fn=_heed_interrupts,
            )
        started(process.pid)
        try:
            kept = _follow(process, name, column, watch, log, root)
        finally:
            stop(process.pid, process)
        if not kept:
            return False
        if process.returncode == 0:
            return True
        text = log.read_text(encoding="utf-8", errors="replace")
        if LOCKED not in text or attempt == ATTEMPTS - 1:
            raise UserError(f"experiment {name} failed ({_reason(text)}): see {log}.")
        time.sleep(1 + attempt)
    raise AssertionError


def _follow(
    process: "subprocess.Popen[bytes]", name: str, column: str, watch: Watch, log: Path, root: Path
) -> bool:
    seen = 0
    while process.poll() is None:
        time.sleep(POLL)
        for epoch, value in _epochs(name, column, log, root):
            if epoch > seen:
                seen = epoch
                if not watch(epoch, value):
                    return False
    return True


def _epochs(name: str, column: str, log: Path, root: Path) -> Iterator[tuple[int, float]]:
    """The epochs that the running experiment has finished."""
    # Until then the folder holds the history of the commit that the experiment started from.
    if "Running stage 'train'" not in log.read_text(encoding="utf-8", errors="replace"):
        return
    folder = _folder(name, root)
    try:
        text = (folder / "metrics" / "history.csv").read_text("utf-8") if folder else ""
    except OSError:  # not yet written, or already cleared away
        return
    for row in csv.DictReader(text.splitlines()):
        if column not in row:
            raise UserError(f"metrics/history.csv has no {column}: it has {', '.join(row)}.")
        try:
            yield int(float(row["epoch"])), float(row[column])
        except (TypeError, ValueError):  # a row that is being written
            return


def _folder(name: str, root: Path) -> Path | None:
    """Where DVC runs the experiment: its files about running ones say so."""
    for file in (root / ".dvc" / "tmp" / "exps" / "standalone" / "run").glob("*/*.run"):
        try:
            info = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if info.get("name") == name and Path(info["root_dir"]).is_dir():
            return Path(info["root_dir"], info["dvc_dir"]).parent
    return None


def stop(group: int, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Interrupt a process and all that it started; kill what has not left after a while."""
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, 5.0)):
        if not _signal(group, number):
            return
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if process is not None:
                process.poll()  # or it would stay, a zombie
            if not _signal(group, None):
                return
            time.sleep(0.1)


def _heed_interrupts() -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, and children inherit that; `stop`
    # would then have to kill DVC, which could not clear its temporary folder away.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _signal(group: int, number: signal.Signals | None) -> bool:
    """Signal a process group; whether there is one."""
    try:
        os.killpg(group, number or 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    return (errors or [line for line in lines if line] or ["it printed nothing"])[0].rstrip(".")
