"""Two commands timed in turns."""

import re
import subprocess
import sys
import time

from tools import ROOT

BUSY = """
import sys, time
began = time.process_time()
while time.process_time() - began < 0.5:
    pass
print("half a second")
sys.exit({status})
"""


def timed(*statuses: int, turns: str = "0.1") -> subprocess.CompletedProcess[str]:
    commands = []
    for name, status in zip("ab", statuses, strict=True):
        code = BUSY.format(status=status)
        commands.append(f"{name}={sys.executable} -c '{code}'")
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.turns", turns, *commands],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_clock_counts_its_own_turns() -> None:
    began = time.monotonic()
    finished = timed(0, 0)
    wall = time.monotonic() - began
    ends = re.findall(r"^([ab]): ([\d.]+) s, ([\d.]+) s of", finished.stdout, re.MULTILINE)
    assert {name for name, *_ in ends} == {"a", "b"}
    # Together they take no more than the whole: the clock of one stands while the other runs.
    assert sum(float(seconds) for _, seconds, _ in ends) <= wall + 0.1  # they are rounded
    assert all(float(seconds) >= 0.5 and float(used) >= 0.5 for _, seconds, used in ends)
    shown = re.findall(r"^[ab] +([\d.]+)  half a second$", finished.stdout, re.MULTILINE)
    assert len(shown) == 2
    assert finished.returncode == 0


def test_the_one_with_longer_turns_gets_ahead() -> None:
    finished = timed(0, 0, turns="0.1,0.4")
    assert re.findall(r"^([ab]): ", finished.stdout, re.MULTILINE) == ["b", "a"]


def test_a_command_that_fails_is_told() -> None:
    finished = timed(0, 3)
    assert "exit status 3" in finished.stdout
    assert finished.returncode == 1
