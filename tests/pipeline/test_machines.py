"""Two machines train one model: namespaces of the network stand for them, or two folders."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.pipeline.test_resume import TRAIN, start
from tests.support import workspace
from tests.support.prepared_digits import prepared_digits
from tests.support.workspace import Workspace

Machines = tuple[Workspace, Workspace]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project with prepared digits, as the stage `train` finds it."""
    result = workspace.fresh(tmp_path_factory.mktemp("machine"), with_results=False)
    prepared_digits(result.path / "data/prepared", train=640, val=144)
    result.set(train__epochs=3, train__lr=0.002, train__schedule="constant")
    return result


@pytest.fixture
def machines(prepared: Workspace, tmp_path: Path) -> Machines:
    """Two machines' folders."""
    return (workspace.copy(prepared, tmp_path / "one"), workspace.copy(prepared, tmp_path / "two"))


def run(machines: Machines, address: str, **more: list[list[str]]) -> list[subprocess.Popen[str]]:
    """Train on both; each one's process."""
    port = str(free_port())
    prefixes = more.get("prefixes", [[], []])
    return [
        start(
            machine,
            *prefixes[number],
            *TRAIN,
            env={
                "PET_NNODES": "2",
                "PET_NODE_RANK": str(number),
                "PET_MASTER_ADDR": address,
                "PET_MASTER_PORT": port,
            },
        )
        for number, machine in enumerate(machines)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ends(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each one printed."""
    return [process.communicate(timeout=120)[0] for process in processes]


@pytest.mark.parametrize("change", ["data/prepared", "params.yaml", "the code"])
def test_machines_that_do_not_have_the_same_train_nothing(machines: Machines, change: str) -> None:
    second = machines[1]
    if change == "data/prepared":
        with (second.path / "data/prepared/train.npy").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\xff")
    elif change == "params.yaml":
        second.set(train__epochs=4)
    else:
        with (second.path / "classifier/training/loop.py").open("a", encoding="utf-8") as file:
            file.write("# another revision\n")
    processes = run(machines, "127.0.0.1")
    for process, output in zip(processes, ends(processes), strict=True):
        assert process.returncode == 1, output
        assert output.count("error: ") == 1, output
        assert f"would train another model: {change} differs between" in output
        assert "Traceback" not in output
