"""Work on all cores keeps its order, stays bounded, and says so when a worker is killed."""

import os
import signal
from collections.abc import Iterator

import pytest

from classifier.core.errors import UserError
from classifier.images import parallel
from classifier.images.parallel import ordered_map


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
