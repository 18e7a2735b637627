"""No decision is lost or half-written, whoever else writes the table."""

import multiprocessing
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from classifier.core.errors import UserError
from classifier.review import decisions
from classifier.review.decisions import Decisions
from classifier.splits.corrections import read_corrections
from tools import ROOT

HEADER = "id,action,label,reason,date\n"
TABLE = Path("data/corrections.csv")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decisions:
    monkeypatch.chdir(tmp_path)
    TABLE.parent.mkdir()
    return opened()


def opened() -> Decisions:
    return Decisions(TABLE, Path(".run/corrections.lock"))


def test_each_is_in_the_file_at_once_in_the_order_of_ids(table: Decisions) -> None:
    table.put("b", "relabel", "cat", "looks, so")
    table.put("a\rb", "exclude", "", "")
    table.put("b", "keep", "", "after all")
    lines = TABLE.read_bytes().split(b"\n")
    assert lines[0] == HEADER.strip().encode()
    assert lines[1].startswith(b'"a\rb",exclude,,,20')
    assert lines[2].startswith(b"b,keep,,after all,20")
    assert list(read_corrections(TABLE)) == ["a\rb", "b"]
    assert [path.name for path in TABLE.parent.iterdir()] == [TABLE.name]


def test_undo_goes_back_one_by_one(table: Decisions) -> None:
    table.put("a", "exclude", "", "")
    table.put("a", "relabel", "cat", "")
    table.put("b", "keep", "", "")
    assert table.undo() == "b"
    assert table.undo() == "a"
    assert [row.action for row in read_corrections(TABLE).values()] == ["exclude"]
    assert table.undo() == "a"
    assert TABLE.read_text() == HEADER
    assert table.undo() is None


def test_what_was_decided_anew_elsewhere_is_not_undone(table: Decisions) -> None:
    table.put("a", "exclude", "", "")
    opened().put("a", "keep", "", "")
    with pytest.raises(UserError, match="a was decided anew elsewhere, which stays"):
        table.undo()
    assert read_corrections(TABLE)["a"].action == "keep"
    assert table.undo() is None


def _many(number: int) -> None:
    mine = opened()
    for count in range(25):
        mine.put(f"{number}-{count:02d}", "exclude", "", "")


def test_several_pages_at_once_lose_nothing(table: Decisions) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_many, args=(number,)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(read_corrections(TABLE)) == 75
    assert len(table.rows()) == 75


def test_an_editor_that_saves_between_reading_and_writing_loses_nothing(
    table: Decisions, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = 0

    def fsync(handle: int) -> None:
        nonlocal saved
        if stat.S_ISREG(os.fstat(handle).st_mode) and saved < 2:
            saved += 1
            before = TABLE.read_text() if TABLE.exists() else HEADER
            TABLE.write_text(before + f"by-hand-{saved},keep,,,2026-03-31\n")
        real(handle)

    real = os.fsync
    monkeypatch.setattr(decisions.os, "fsync", fsync)
    table.put("a", "exclude", "", "")
    assert list(read_corrections(TABLE)) == ["a", "by-hand-1", "by-hand-2"]
    assert table.undo() == "a"
    assert list(read_corrections(TABLE)) == ["by-hand-1", "by-hand-2"]


def test_an_editor_that_writes_over_decisions_is_found_out(table: Decisions) -> None:
    table.put("a", "exclude", "", "")
    table.put("b", "keep", "", "")
    assert table.lost() == []
    TABLE.write_text(HEADER + "c,keep,,,2026-03-31\n")
    assert [one.id for one in table.lost()] == ["a", "b"]
    assert table.restore() == 2
    assert list(read_corrections(TABLE)) == ["a", "b", "c"]
    assert table.lost() == []


def test_a_table_that_is_none_is_left_alone(table: Decisions) -> None:
    table.put("a", "exclude", "", "")
    TABLE.write_text("nonsense\n")
    for change in (lambda: table.put("b", "keep", "", ""), table.undo, table.rows):
        with pytest.raises(UserError, match="the first line must be"):
            change()
    assert TABLE.read_text() == "nonsense\n"
    TABLE.write_text(HEADER)
    assert [one.id for one in table.lost()] == ["a"]


def test_a_full_disk_changes_nothing(table: Decisions, monkeypatch: pytest.MonkeyPatch) -> None:
    table.put("a", "exclude", "", "")
    before = TABLE.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(decisions.os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot be written .No space left on device.: noth"):
            table.put("b", "exclude", "", "")
        with pytest.raises(UserError, match="cannot be written"):
            table.undo()
    assert TABLE.read_bytes() == before
    assert [path.name for path in TABLE.parent.iterdir()] == [TABLE.name]
    assert table.undo() == "a"


DECIDING = """
import sys
from pathlib import Path
from classifier.review.decisions import Decisions
mine = Decisions(Path("data/corrections.csv"), Path(".run/corrections.lock"))
for number in range(100_000):
    mine.put(f"{sys.argv[1]}-{number}", "exclude", "", "")
    print(f"{sys.argv[1]}-{number}", flush=True)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_a_kill_loses_nothing_that_was_answered(table: Decisions, kills: int) -> None:
    answered: list[str] = []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for kill in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", DECIDING, str(kill)], stdout=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        assert process.stdout
        answered.append(process.stdout.readline().strip())
        time.sleep(random.Random(kill).random() / 10)
        process.kill()
        answered += process.communicate()[0].split()
        assert set(answered) <= read_corrections(TABLE).keys()
    table.put("last", "keep", "", "")
    assert [path.name for path in TABLE.parent.iterdir()] == [TABLE.name]
