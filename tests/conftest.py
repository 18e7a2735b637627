"""Fixtures that more than one test module uses."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from classifier.core.portable import TORCH
from tests.support import toy_project, workspace
from tests.support.toy_project import Toy
from tests.support.workspace import Workspace

# Stages that run in this process have the bits of those in processes of their own.
os.environ.update(TORCH)
# A shell has what it starts with `&` ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; threads would only fight
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project after a full run of its defaults, committed. Do not change it: copy it."""

    def make(folder: Path) -> None:
        folder.mkdir()
        result = workspace.fresh(folder)
        result.dvc("repro")
        result.commit("the default run")

    original = made_once(tmp_path_factory, "finished", make)
    return workspace.copy(Workspace(original), tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="session")
def experiment(
    finished: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, list[str]]:
    """`finished` after the experiment `slower`, and the stages that this ran. Copy it, too."""

    def make(folder: Path) -> None:
        place = workspace.copy(finished, folder)
        changes = ("train.lr=0.001", "train.epochs=2", "train.seed=1")
        run = place.dvc("exp", "run", "-n", "slower", *(f"-S{change}" for change in changes))
        (folder / ".run" / "stages").write_text(" ".join(workspace.ran(run.stdout)))

    original = made_once(tmp_path_factory, "experiment", make)
    place = workspace.copy(Workspace(original), tmp_path_factory.mktemp("experiment"))
    return place, place.read(".run/stages").split()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A made-up project of trivial stages, run and committed. Do not change it: copy it."""
    original = made_once(tmp_path_factory, "toy", toy_project.create)
    return toy_project.copy(Toy(original), tmp_path_factory.mktemp("toy") / "project")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads of matrices that are small wait for each other, seconds long beside other work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that ``make`` fills in the first worker that asks for it, for all of them."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder, done = common / f"made-{name}", common / f"made-{name}.done"
    with FileLock(common / f"made-{name}.lock"):
        if not done.exists():
            make(folder)
            done.touch()
    return folder
