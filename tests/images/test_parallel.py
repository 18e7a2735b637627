"""Work on all cores keeps its order, stays bounded, and says so when a worker is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from classifier.core.errors import UserError
from classifier.images import parallel
from classifier.images.parallel import ordered_map
from tests.support.toy_project import wait_for
from tools import ROOT


def where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def fail_at_five(number: int) -> int:
    if number == 5:
        raise ValueError("five")
    return number


def die_at_five(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGTERM)
    return number


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes after the first piece, however short the work."""
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 0.0)


def test_results_come_in_order_from_other_processes() -> None:
    numbers, processes = zip(*ordered_map(where, range(200), workers=2), strict=True)
    assert list(numbers) == list(range(200))
    assert len(set(processes) - {os.getpid()}) in (1, 2)


def test_one_worker_is_this_process() -> None:
    assert {process for _, process in ordered_map(where, range(9), workers=1)} == {os.getpid()}


def test_short_work_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 60.0)
    assert {process for _, process in ordered_map(where, range(9), workers=2)} == {os.getpid()}
    assert list(ordered_map(where, [], workers=2)) == []


def test_endless_work_is_drawn_only_as_it_is_used() -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    results = ordered_map(where, endless(), workers=2)
    assert [next(results)[0] for _ in range(20)] == list(range(1, 21))
    results.close()  # type: ignore[attr-defined]
    assert drawn < 40


def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="five"):
        list(ordered_map(fail_at_five, range(100), workers=2))


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
def test_a_killed_worker_is_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match="a worker process was ended by the system"):
        list(ordered_map(die_at_five, range(100), workers=2))


def slow(number: int) -> int:
    time.sleep(0.05)
    return number


PARENT = """
from classifier.images import parallel
from tests.images.test_parallel import slow
if __name__ == "__main__":
    parallel.WORTH_PROCESSES = 0.0
    for number in parallel.ordered_map(slow, range(10**6), workers=2):
        print(number, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
def test_workers_end_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    while parent.stdout.readline() != "5\n":
        pass
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.kill()
    parent.communicate()
    ended = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    wait_for(lambda: all(not one.is_running() or one.status() in ended for one in workers), 20)
