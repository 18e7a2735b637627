"""`make new` leaves a project with nothing of the template's own in it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support import workspace
from tools.new_project import NAME, new_project


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the template as it is now."""
    original = workspace.fresh(tmp_path / "template").path
    subprocess.run(["git", "clone", "--quiet", str(original), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def git(root: Path, *arguments: str) -> str:
    finished = subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return finished.stdout


def test_results_benchmarks_history_and_name_are_gone(clone: Path) -> None:
    new_project("birds", clone)
    files = git(clone, "ls-files").split()
    assert not [name for name in files if name.startswith(("benchmarks/", "dvc.lock"))]
    assert [name for name in files if name.startswith("metrics/")] == ["metrics/.gitignore"]
    assert {"README.md", "LICENSE.pipeline", "CONTRIBUTING.md", "dvc.yaml"} <= {*files}
    assert "LICENSE" not in files
    assert git(clone, "branch", "--all") == git(clone, "remote") == ""
    project = (clone / "pyproject.toml").read_text(encoding="utf-8")
    assert 'name = "birds"' in project
    assert NAME not in project
    # What is left names nothing that is gone.
    gone = re.compile(
        r"\bbenchmarks\b|make (new NAME|benchmark)|new_project|ladder\.(md|png)|CHANGELOG"
    )
    for name in files:
        path = clone / name
        if path.suffix in {".py", ".md", ".yml", ".yaml", ".toml", ".json"} or name == "Makefile":
            text = path.read_text(encoding="utf-8")
            assert not gone.search(text), f"{name}: {gone.search(text)}"
            assert not name.startswith("docs/") or "\n\n\n" not in text
    shown = subprocess.run(["make", "help"], cwd=clone, check=True, capture_output=True, text=True)
    assert "make repro" in shown.stdout
    assert "make new" not in shown.stdout


def test_nothing_that_was_not_committed_or_pushed_is_lost(clone: Path) -> None:
    with pytest.raises(SystemExit, match="NAME=birds"):
        new_project("../birds", clone)
    (clone / "params.yaml").write_text("changed")
    with pytest.raises(SystemExit, match="uncommitted changes"):
        new_project("birds", clone)
    git(clone, "-c", "user.name=a", "-c", "user.email=b@c", "commit", "-qam", "mine")
    with pytest.raises(SystemExit, match="commits of its own"):
        new_project("birds", clone)
    assert (clone / "benchmarks").is_dir()
