"""Ctrl-C is answered between steps, and at once only when somebody insists."""

import os
import signal

import pytest

from classifier.training.run import interrupt
from classifier.training.run.interrupt import Interrupt


def test_the_first_signal_only_asks_and_its_echo_changes_nothing() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as asked:
        assert not asked.asked
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert asked.asked
    assert signal.getsignal(signal.SIGINT) is before


def test_one_more_interrupts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "ECHO", -1.0)
    with Interrupt() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
