"""What a command needs beyond the pipeline's packages can be installed as its error says."""

import importlib.util
import zipfile
from pathlib import Path

import pytest

from classifier import cli
from tests.support import workspace


def test_a_command_without_its_packages_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["serve"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: fastapi is not installed: ")
    assert "make setup EXTRAS=serve" in message


def test_the_project_installs_as_a_library_with_extras(tmp_path: Path) -> None:
    project = workspace.fresh(tmp_path / "project", with_results=False)
    project.run("python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), ".")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        files = {name for name in packed.namelist() if ".dist-info/" not in name}
        (about,) = (name for name in packed.namelist() if name.endswith("/METADATA"))
        metadata = packed.read(about).decode().splitlines()
    assert files == set(project.run("git", "ls-files", "classifier").stdout.split())
    extras = {
        "tensorboard",
        "tune",
        "export",
        "serve",
        "s3",
        "gs",
        "az",
        "heic",
        "hf",
        "gdrive",
        "kaggle",
        "ray",
        "embed",
        "dev",
    }
    assert {line.split(": ")[1] for line in metadata if line.startswith("Provides-Extra")} == extras
