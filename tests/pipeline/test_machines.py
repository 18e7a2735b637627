"""Two machines train one model: two folders, and for each a network namespace of Linux."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from tests.pipeline.test_resume import MODEL, ONE_THREAD, digest, states
from tests.support import workspace
from tests.support.prepared_digits import prepared_digits
from tests.support.workspace import Workspace, environment

TOLERANCE = 1e-3  # of a weight, relative to the largest of its tensor, after 3 epochs
TRAIN = (sys.executable, "-m", "stages.train")


@dataclass(frozen=True)
class Machines:
    """Two folders that train together; the first is where the results are."""

    folders: list[Workspace]
    address: str = "127.0.0.1"
    inside: list[list[str]] = field(default_factory=lambda: [[], []])
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *command: str) -> list[subprocess.Popen[str]]:
        """Run a command on both."""
        port = free_port()
        return [
            subprocess.Popen(
                [*inside, *command],
                cwd=folder.path,
                env={
                    **environment(),
                    **ONE_THREAD,
                    **self.env,
                    "PET_NNODES": "2",
                    "PET_NODE_RANK": str(number),
                    "PET_MASTER_ADDR": self.address,
                    "PET_MASTER_PORT": str(port),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number, (folder, inside) in enumerate(zip(self.folders, self.inside, strict=True))
        ]

    def train(self) -> list[str]:
        """Train to the end; what each one printed."""
        processes = self.start(*TRAIN)
        outputs = ends(processes)
        assert [process.returncode for process in processes] == [0, 0], outputs
        return outputs


def ends(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What each one printed until its end."""
    try:
        return [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project with prepared digits, as the stage `train` finds it."""
    result = workspace.fresh(tmp_path_factory.mktemp("machine"), with_results=False)
    prepared_digits(result.path / "data/prepared", train=640, val=144)
    # AdamW divides by the gradient's size, which lets the last bits of small gradients grow.
    result.set(train__epochs=3, train__lr=0.05, train__schedule="constant", train__optimizer="sgd")
    return result


@pytest.fixture
def folders(prepared: Workspace, tmp_path: Path) -> list[Workspace]:
    return [workspace.copy(prepared, tmp_path / name) for name in ("one", "two")]


@pytest.fixture
def machines(folders: list[Workspace]) -> Iterator[Machines]:
    """Two namespaces with a cable between them."""
    names = [f"train{os.getpid()}{end}" for end in "ab"]

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

    with contextlib.ExitStack() as stack:
        try:
            for name in names:
                ip("netns", "add", name)
                stack.callback(ip, "netns", "delete", name)

            ip(
                "-n",
                names[0],
                "link",
                "add",
                "cable",
                "type",
                "veth",
                "peer",
                "cable",
                "netns",
                names[1],
            )
            for number, name in enumerate(names):
                ip("-n", name, "address", "add", f"10.99.0.{number + 1}/24", "dev", "cable")
                for link in ("lo", "cable"):
                    ip("-n", name, "link", "set", link, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or str(error)
            pytest.skip(f"no network namespaces can be made here: {reason.strip()}")
        inside = [[str(shutil.which("ip")), "netns", "exec", name] for name in names]
        yield Machines(folders, "10.99.0.1", inside, {"GLOO_SOCKET_IFNAME": "cable"})


@pytest.mark.slow  # tests/training/test_ranks.py compares what two processes have
@pytest.mark.parametrize("change", ["data/prepared", "params.yaml", "the code"])
def test_machines_that_do_not_have_the_same_train_nothing(
    folders: list[Workspace], change: str
) -> None:
    second = folders[1]
    if change == "data/prepared":
        with (second.path / "data/prepared/train.npy").open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\xff")
    elif change == "params.yaml":
        second.set(train__epochs=4)
    else:
        with (second.path / "classifier/training/loop.py").open("a", encoding="utf-8") as file:
            file.write("# another revision\n")
    processes = Machines(folders).start(*TRAIN)
    for process, output in zip(processes, ends(processes), strict=True):
        assert process.returncode == 1, output
        assert output.count("error: ") == 1, output
        assert f"would train another model: {change} differs between" in output
        assert "Traceback" not in output


def test_two_machines_train_the_model_of_one_process(machines: Machines, tmp_path: Path) -> None:
    first, second = machines.folders
    alone = workspace.copy(first, tmp_path / "alone")
    outputs = machines.train()
    assert "in 2 processes" in outputs[0]
    assert "images" not in outputs[1], "the first rank alone speaks"
    assert not (second.path / MODEL).exists()
    alone.stages("train")
    expected, found = (load_file(place.path / MODEL) for place in (alone, first))
    for name, weight in expected.items():
        worst = (found[name] - weight).abs().max() / weight.abs().max().clamp(min=1e-3)
        assert worst < TOLERANCE, f"{name}: {worst:.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1], ids=["the first", "the second"])
def test_a_rank_killed_on_one_machine_ends_both_and_they_go_on_to_the_same_bytes(
    machines: Machines, tmp_path: Path, victim: int
) -> None:
    for folder in machines.folders:
        folder.set(train__epochs=8, train__processes=2, train__checkpoint_every="0.002 minutes")
    straight = [workspace.copy(f, tmp_path / f"{f.path.name} straight") for f in machines.folders]
    Machines(straight, machines.address, machines.inside, machines.env).train()

    processes = machines.start(*TRAIN)
    while not states(machines.folders[0]):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    # `ip netns exec` becomes the launcher.
    ranks = psutil.Process(processes[victim].pid).children()
    assert len(ranks) == 2
    ranks[0].kill()
    outputs = ends(processes)
    for number, (process, output) in enumerate(zip(processes, outputs, strict=True)):
        assert process.returncode == 1, output
        assert output.count("error: ") == 1, output
        words = "was ended by SIGKILL" if number == victim else "lost another of its processes"
        assert words in output
        assert "Traceback" not in output

    assert "going on with epoch" in machines.train()[0]
    assert digest(machines.folders[0]) == digest(straight[0])
