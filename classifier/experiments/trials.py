"""One experiment in a temporary folder, followed while it runs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError
from classifier.core.files import read_json, replacing
from classifier.core.process import PROGRESS, alive, end_group, heed_interrupts, identity
from classifier.experiments.dvc_commands import environment, mend, remove_temporary
from classifier.experiments.overrides import flags
from classifier.experiments.revisions import experiment_exists

POLL = 0.5  # seconds between two looks
STARTS = 4  # experiments that start at the same moment can get into each other's way in DVC


class ExperimentRun:
    """`dvc exp run --temp` in a process of its own; leaving the context stops it.

    It ends as an experiment of the repository. Its stages tell how they get on in a file that
    the environment names, see `classifier.core.process.tell`.
    """

    def __init__(self, name: str, changes: Mapping[str, Any], folder: Path, root: Path) -> None:
        """Name an experiment that is to be.

        Args:
            name: its name.
            changes: values by full key.
            folder: for what it prints, in NAME.log, and what it tells.
            root: the project's top folder.
        """
        self.name, self.changes, self.root = name, changes, root
        self.log = folder / f"{name}.log"
        self._told = folder.resolve() / f"{name}.jsonl"
        self._processes = folder / f"{name}.json"  # the experiment's, and the one that follows it
        self._starts = 0

    def __enter__(self) -> "ExperimentRun":
        mend(self.root)
        self.end_orphan()
        if experiment_exists(self.name, self.root):
            raise UserError(
                f"there is an experiment {self.name!r} already: run dvc exp remove {self.name}."
            )
        self._start()
        return self

    def __exit__(self, *error: object) -> None:
        end_group(self._process.pid, self._process)
        self._processes.unlink(missing_ok=True)

    def end_orphan(self) -> None:
        """Stop an earlier run of it that goes on although the process that followed it was killed.

        Raises:
            UserError: that process is alive.
        """
        if not self._processes.exists():
            return
        experiment, follower = read_json(self._processes)
        if alive(follower):
            raise UserError(f"process {follower[0]} runs experiment {self.name}: wait for it.")
        if alive(experiment):
            end_group(int(experiment[0]))
        remove_temporary(self.name, self.root)
        self._processes.unlink()

    def _start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._told.write_text("", encoding="utf-8")
        command = ["dvc", "--wait-for-lock", "exp", "run", "--temp", "-n", self.name]
        with self.log.open("w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command, *flags(self.changes)],
                cwd=self.root,
                env={**environment(), "PYTHONUNBUFFERED": "1", PROGRESS: str(self._told)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that it can be stopped with all that it started
                preexec_fn=heed_interrupts,
            )
        self._starts += 1
        experiment, follower = identity(self._process.pid), identity(os.getpid())
        with replacing(self._processes) as temporary:
            temporary.write_text(json.dumps([experiment, follower]), encoding="utf-8")

    def running(self) -> bool:
        """Whether it goes on; one that ended before any of its stages began is started again."""
        if self._process.poll() is None:
            return True
        if self.facts() or self._starts == STARTS or experiment_exists(self.name, self.root):
            return False
        time.sleep(POLL)
        self._start()
        return True

    def facts(self) -> list[dict[str, Any]]:
        """What its stages have told so far."""
        lines = self._told.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]  # the last one is being written

    def now(self) -> str:
        """What it is at, for people: a stage, of training with the last epoch that ended."""
        told = {key: value for fact in self.facts() for key, value in fact.items()}
        stage, epoch = told.get("stage", "start"), told.get("epoch")
        return f"train, epoch {epoch}" if stage == "train" and epoch else str(stage)

    def epochs(self) -> Iterator[dict[str, Any]]:
        """The rows of metrics/history.csv as training makes them, until the experiment ends."""
        seen = 0
        while self.running():
            time.sleep(POLL)
            rows = [fact for fact in self.facts() if "epoch" in fact]
            yield from rows[seen:]
            seen = len(rows)

    def check(self) -> None:
        """See that there is a result.

        Raises:
            UserError: it failed; the sentence holds that of the stage.
        """
        if not experiment_exists(self.name, self.root):
            errors = [fact["error"] for fact in self.facts() if "error" in fact]
            reason = f" ({errors[-1].rstrip('.')})" if errors else ""
            raise UserError(f"experiment {self.name} failed{reason}: see {self.log}.")
