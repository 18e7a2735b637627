"""Fixtures that more than one test module uses."""

import os

import pytest

from tests import toy_project, workspace
from tests.toy_project import Toy
from tests.workspace import Workspace

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; threads would only fight
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The project after a full run of its defaults, committed. Do not change it: copy it."""
    result = workspace.fresh(tmp_path_factory.mktemp("finished"))
    result.dvc("repro")
    result.commit("the default run")
    return result


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A made-up project of trivial stages, run and committed. Do not change it: copy it."""
    return toy_project.create(tmp_path_factory.mktemp("toy") / "project")
