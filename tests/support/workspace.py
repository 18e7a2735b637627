"""A temporary copy of the project in which tests run the real commands, as a user would."""

import contextlib
import importlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tools import ROOT


@dataclass(frozen=True)
class Workspace:
    """A Git and DVC repository of its own, holding the project as it stands in the work tree."""

    path: Path

    def run(
        self, *command: str, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command here; with ``check``, a non-zero exit fails the test and shows why."""
        finished = subprocess.run(
            [_program(command[0]), *command[1:]],
            cwd=self.path,
            env=environment() | (env or {}),
            capture_output=True,
            text=True,
            check=False,
        )
        if check and finished.returncode:
            raise AssertionError(
                f"{' '.join(command)} exited with {finished.returncode}\n"
                f"{finished.stdout[-4000:]}\n{finished.stderr[-4000:]}"
            )
        return finished

    def dvc(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a dvc command here."""
        return self.run("dvc", *arguments, **options)

    def stages(self, *names: str) -> str:
        """Call stages here in this process, where torch is imported already: what they print.

        An error is raised as it is. That a process of its own ends in one sentence and the right
        exit status is what `tests/test_pipeline.py` and `tests/test_process.py` check.
        """
        out = io.StringIO()
        with contextlib.chdir(self.path), redirect_stdout(out), _numerics_kept():
            for name in names:
                importlib.import_module(f"stages.{name}").main()
        return out.getvalue()

    def set(self, **changes: Any) -> None:
        """Change params.yaml, keeping its comments: ``set(train__epochs=2)``."""
        yaml = YAML()
        path = self.path / "params.yaml"
        document = yaml.load(path)
        for key, value in changes.items():
            *sections, name = key.split("__")
            section = document
            for part in sections:
                section = section.setdefault(part, {})
            section[name] = value
        yaml.dump(document, path)

    def commit(self, message: str = "change") -> None:
        """Commit everything that Git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.path / name).read_text(encoding="utf-8")


def environment() -> dict[str, str]:
    """The tests' own environment, with this Python and its tools first on the path."""
    return os.environ | {
        "DVC_NO_ANALYTICS": "1",  # `dvc init` leaves a report in the temporary folder otherwise
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.com",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.com",
    }


def fresh(folder: Path, *, with_results: bool = True) -> Workspace:
    """Copy the project's files (tracked, or new and not ignored) into a new repository.

    ``with_results=False`` leaves dvc.lock and metrics out, as if nothing had ever run.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if not with_results and (name == "dvc.lock" or name.startswith("metrics/")):
            continue
        source = ROOT / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name)
    workspace = Workspace(folder)
    workspace.run("git", "init", "-q", "-b", "main")
    workspace.commit("the project")
    return workspace


def copy(original: Workspace, folder: Path) -> Workspace:
    """A copy with outputs and DVC cache, for a test that changes things."""
    shutil.copytree(original.path, folder, symlinks=True, dirs_exist_ok=True)
    return Workspace(folder)


def pretend_set_up(place: Workspace) -> None:
    """Let `make` there find this Python's environment as its own, and install nothing."""
    environment = place.path / ".venv"
    environment.mkdir()
    for part in Path(sys.prefix).iterdir():
        (environment / part.name).symlink_to(part)
    for stamp, requirements in ((".run", "requirements.txt"), (".dev", "requirements-dev.txt")):
        (environment / stamp).unlink(missing_ok=True)
        shutil.copy(place.path / requirements, environment / stamp)


@contextlib.contextmanager
def _numerics_kept() -> Iterator[None]:
    """Leave the settings of torch that a stage chooses as they were."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)


def ran(output: str) -> list[str]:
    """The stages that DVC says it ran, in order."""
    return [
        line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")
    ]


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return sys.executable if name == "python" else str(beside) if beside.exists() else name
