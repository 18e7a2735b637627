"""What surrounds the work of a stage: its exit status and its error sentence."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError, of_the_machine

STOPS = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
GRACE = 30.0  # seconds in which a process that is interrupted may save its state and leave

# The environment variable with which whoever starts a run names a file to be told how it gets on.
PROGRESS = "STAGE_PROGRESS"
# The one with which whoever starts DVC says that it puts params.yaml back when a run fails.
PUTS_BACK = "STAGE_PUTS_BACK"


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
    """Run a stage's ``main``; exit with 1 and one sentence on a user's mistake, 130 on Ctrl-C.

    So it does on what the machine lacks, and on the signals of `stoppable`.
    """
    tell(stage=name)
    try:
        with stoppable():
            main()
    except KeyboardInterrupt as interrupt:
        print(interrupt if str(interrupt) else f"{name} stopped.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError) else of_the_machine(error)
        if sentence is None:
            raise
        tell(error=sentence)
        print(f"error: {sentence}", file=sys.stderr)
        if _leaves_values():
            print(
                "params.yaml keeps the values of this experiment: git diff HEAD params.yaml shows"
                " them, and git checkout HEAD params.yaml takes them back; then dvc repro brings"
                " back the results that this run removed.",
                file=sys.stderr,
            )
        sys.exit(1)


def _leaves_values() -> bool:
    """Whether this is an experiment in the workspace, after whose failure DVC changes nothing."""
    here = Path(os.environ.get("DVC_ROOT", "")).resolve() == Path.cwd()
    return here and "DVC_EXP_BASELINE_REV" in os.environ and PUTS_BACK not in os.environ


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM, and the SIGHUP of a terminal that is closed, interrupt as Ctrl-C does.

    What is half-written is then removed, and what was started ends. A signal that has a handler or
    is ignored, as `nohup` has it, keeps that.
    """
    taken = []
    try:
        for number in STOPS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)
                taken.append(number)
    except ValueError:  # not in the main thread, which alone may do this
        pass
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def identity(process: int) -> list[float]:
    """A process's id and when it started: the id alone may be another's by now."""
    import psutil

    try:
        return [process, psutil.Process(process).create_time()]
    except psutil.Error:
        return [process]


def alive(process: Sequence[float]) -> bool:
    """Whether a process that `identity` named goes on."""
    import psutil

    if len(process) != 2 or list(process) != identity(int(process[0])):
        return False
    # In a container often nobody takes notice of the end of an orphan.
    with suppress(psutil.Error):
        return psutil.Process(int(process[0])).status() != psutil.STATUS_ZOMBIE
    return False


def end_group(group: int, process: "subprocess.Popen[Any] | None" = None) -> None:
    """Interrupt a process and all that it started; kill what has not left after a while."""
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, 5.0)):
        if not _signal(group, number):
            return
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if process is not None:
                process.poll()  # or it would stay, a zombie
            if not _goes_on(group):
                return
            time.sleep(0.1)


def heed_interrupts() -> None:
    """To be called in a process that is to be ended by `end_group`, before its program begins.

    A shell lets what it starts in the background ignore Ctrl-C, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _signal(group: int, number: signal.Signals) -> bool:
    """Signal a process group; whether there is one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _goes_on(group: int) -> bool:
    """Whether a process of a group runs, and has not merely ended without anybody's notice."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False
