"""Ctrl-C and termination, answered between two steps and never in the middle of one."""

import signal
import time
from types import FrameType

from classifier.core.process import STOPS

ECHO = 1.0  # seconds


class Interrupt:
    """While entered, signals that stop only set ``asked``; one more after `ECHO` interrupts.

    They are SIGINT, SIGTERM and SIGHUP; the latter two stay ignored where they are, as `nohup` has
    it of SIGHUP.

    An update that is cut in half leaves weights and optimizer that do not belong together, which
    must not be saved. One Ctrl-C in a terminal arrives twice in a run of several processes: it
    goes to all of them, and then the launcher hands it on to each of its ranks.
    """

    def __init__(self) -> None:
        self.asked = False
        self._asked_at = 0.0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interrupt":
        for number in (signal.SIGINT, *STOPS):
            if number != signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue
            try:
                self._before[number] = signal.signal(number, self._ask)
            except ValueError:  # not in the main thread, which alone may do this
                break
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked, self._asked_at = True, time.monotonic()
        elif time.monotonic() - self._asked_at > ECHO:
            raise KeyboardInterrupt
