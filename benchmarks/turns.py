"""Two long commands timed side by side: each runs while the other one is stopped, in turns.

    python -m benchmarks.turns SECONDS[,SECONDS] NAME=COMMAND NAME=COMMAND

A machine whose pace changes within the hour is the same for both that way, which one run after the
other is not. Each line that a command prints is shown behind its name and the seconds that its
turns have lasted by then, so that any stretch of it can be timed; in the end its turns' seconds in
all, and the processor time that it used. When one has ended, the other goes on alone; turns of
different lengths let both end at about the same time.
"""

import os
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from itertools import cycle


class Command:
    """A command in a process group of its own, stopped unless it is its turn."""

    def __init__(self, name: str, command: str) -> None:
        self.name = name
        self._before = 0.0  # seconds of the turns that are over
        self._since: float | None = None  # when this turn began
        self._process = subprocess.Popen(
            shlex.split(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._signal(signal.SIGSTOP)
        self._reader = threading.Thread(target=self._show)
        self._reader.start()

    @property
    def seconds(self) -> float:
        """How long its turns have lasted."""
        since = self._since
        return self._before + (time.monotonic() - since if since is not None else 0.0)

    def turn(self, seconds: float) -> bool:
        """Let it run that long, or to its end; False when it has ended."""
        self._since = time.monotonic()
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGSTOP)
        self._before, self._since = self.seconds, None
        return self._process.returncode is None

    def end(self) -> int:
        """Its exit status, once all that it printed has been shown."""
        self._reader.join()
        return self._process.wait()

    def kill(self) -> None:
        """End it at once, if it has not."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)

    def _show(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            print(f"{self.name} {self.seconds:8.1f}  {line.rstrip()}", flush=True)

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)


def processor_seconds() -> float:
    """User and system time of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Exit status 1 if one of the commands failed."""
    lengths, *given = sys.argv[1:]
    seconds = [float(each) for each in lengths.split(",")]
    failed = False
    commands = [Command(*each.split("=", 1)) for each in given]
    try:
        running = list(commands)
        for command, length in zip(cycle(commands), cycle(seconds), strict=False):
            used = processor_seconds()
            if command in running and not command.turn(length):
                running.remove(command)
                status, used = command.end(), processor_seconds() - used
                failed |= status != 0
                print(
                    f"{command.name}: {command.seconds:.1f} s, {used:.1f} s of processors,"
                    f" exit status {status}",
                    flush=True,
                )
            if not running:
                break
    finally:
        for command in commands:
            command.kill()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
