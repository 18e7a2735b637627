"""What surrounds the work of a stage: its exit status and its error sentence."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError

# The environment variable with which whoever starts a run names a file to be told how it gets on.
PROGRESS = "STAGE_PROGRESS"


def run_dir() -> Path:
    """The folder for state that is no output: resume points, partial downloads.

    DVC runs queued and ``--temp`` experiments in a folder that it deletes afterwards and names
    the parent repository in DVC_ROOT; state kept there outlives the experiment's folder.
    """
    return Path(os.environ.get("DVC_ROOT", ".")) / ".run"


def tell(**facts: Any) -> None:
    """Append a line of JSON to the file that whoever started this run has named, if any."""
    if path := os.environ.get(PROGRESS):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")


def stage(name: str, main: Callable[[], None]) -> None:
    """Run a stage's ``main``; exit with 1 and one sentence on a user's mistake, 130 on Ctrl-C."""
    tell(stage=name)
    try:
        main()
    except UserError as error:
        tell(error=str(error))
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        print(interrupt if str(interrupt) else f"{name} stopped.", file=sys.stderr)
        sys.exit(130)
