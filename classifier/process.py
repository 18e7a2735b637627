"""What surrounds the work of a stage: its exit status, its error sentence, its wall time."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from classifier.errors import UserError
from classifier.files import read_json, write_json


def run_dir() -> Path:
    """The folder for state that is no output: resume points, partial downloads, wall times.

    DVC runs queued and ``--temp`` experiments in a folder that it deletes afterwards and names
    the parent repository in DVC_ROOT; state kept there outlives the experiment's folder.
    """
    return Path(os.environ.get("DVC_ROOT", ".")) / ".run"


def stage(name: str, main: Callable[[], None]) -> None:
    """Run a stage's ``main``; exit with 1 and one sentence on a user's mistake, 130 on Ctrl-C."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        print(interrupt if str(interrupt) else f"{name} stopped.", file=sys.stderr)
        sys.exit(130)
    _record(name)


def _record(name: str) -> None:
    # Wall time is not a metric, or every metrics diff would be non-empty: the report reads this.
    # It counts from the start of the process, since a stage's imports can outlast its work.
    seconds = time.time() - psutil.Process().create_time()
    path = Path(".run") / "times.json"
    times = read_json(path) if path.exists() else {}
    write_json(path, {**times, name: round(seconds, 2)})
