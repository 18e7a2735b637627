"""A dvc.lock that was cut off is noticed and restored."""

import subprocess
from pathlib import Path

import pytest

from classifier import cli
from classifier.experiments.lock_file import is_whole, mend_lock
from tools import ROOT

WHOLE = (ROOT / "dvc.lock").read_bytes()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which dvc.lock is committed, some folders below its top."""
    place = tmp_path / "deep/project"
    place.mkdir(parents=True)
    (place / "dvc.lock").write_bytes(WHOLE)
    (place / "params.yaml").write_text("train: {lr: 0.1}\n", encoding="utf-8")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "a run")):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(place)
    return place


def test_a_whole_file_is_left_alone(project: Path) -> None:
    assert mend_lock(project) is None
    assert (project / "dvc.lock").read_bytes() == WHOLE
    (project / "dvc.lock").unlink()
    assert mend_lock(project) is None
    assert not (project / "dvc.lock").exists()


@pytest.mark.parametrize("part", [0, 1, 17, 0.3, 0.5, 0.77, len(WHOLE) - 1])
def test_wherever_it_is_cut_it_is_that_of_the_last_commit(
    project: Path, part: float, capsys: pytest.CaptureFixture[str]
) -> None:
    size = round(part * len(WHOLE)) if isinstance(part, float) else part
    (project / "dvc.lock").write_bytes(WHOLE[:size])
    assert cli.main(["repair"]) == 0
    assert (project / "dvc.lock").read_bytes() == WHOLE
    assert "cut off" in capsys.readouterr().err


def test_without_a_whole_one_in_git_it_is_removed(project: Path) -> None:
    (project / "dvc.lock").write_bytes(WHOLE[:500])
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *who, "commit", "-qam", "damaged"], cwd=project, check=True)
    assert "removed" in str(mend_lock(project))
    assert not (project / "dvc.lock").exists()


def test_without_git_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_bytes(b"\xff\xfe")
    assert "removed" in str(mend_lock(tmp_path))
    assert not (tmp_path / "dvc.lock").exists()


def test_dvc_and_we_agree_on_what_is_whole() -> None:
    """Cut between two stages it is one that DVC reads, and runs the stages that it lacks."""
    lines = WHOLE.splitlines(keepends=True)
    starts = [n for n, line in enumerate(lines) if line[:2] == b"  " and line[2:3].isalpha()]
    assert len(starts) == 6
    for start in starts[1:]:
        assert is_whole(b"".join(lines[:start]))
    assert not is_whole(b"".join(lines[: starts[1] - 1])[:-1])
