"""The engine that the environment names: chosen in one sentence, and imported only where it is."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from classifier.core import engine
from classifier.core.engine import connect, on_ray
from classifier.core.errors import UserError


def test_local_is_the_default_and_imports_nothing() -> None:
    code = (
        "import sys; from classifier.images.parallel import ordered_map;"
        "assert list(ordered_map(abs, range(3))) == [0, 1, 2]; assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFIER_ENGINE", "dask")
    with pytest.raises(UserError, match="CLASSIFIER_ENGINE is 'dask': give ray, or local"):
        on_ray()


def test_without_the_package_the_sentence_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFIER_ENGINE", "ray")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^ray is not installed: .*make setup EXTRAS=ray"):
        on_ray()


def test_an_address_that_nobody_answers_at_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for address in (f"127.0.0.1:{port}", "nowhere"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=f"RAY_ADDRESS: no Ray cluster answers at {address}"):
            connect()


def test_a_machine_that_is_too_busy_to_start_ray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def late(*_: object, **__: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", late)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UserError, match="cannot start Ray here: The current node timed out"):
        connect()


@pytest.mark.parametrize("here", [True, False])
def test_a_node_that_sees_another_folder_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: bool
) -> None:
    """A clone of its own has the path of the project, but not what the others write there."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path if here else tmp_path / "elsewhere"
    with pytest.raises(UserError, match=r"does not see .*: put the project on a file system"):
        engine.in_folder(folder, tmp_path / "witness", abs, 3)
