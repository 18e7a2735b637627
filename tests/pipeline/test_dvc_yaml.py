"""dvc.yaml tells the truth: each stage lists the code it imports and the sections it reads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import workspace
from tools import ROOT
from tools.stage_packages import code, imports, is_code

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = ["download", "split", "preprocess", "train", "evaluate", "plot"]


def test_the_stages_are_those_of_the_readme() -> None:
    assert list(PIPELINE) == STAGES
    for name, stage in PIPELINE.items():
        assert stage["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_exactly_the_packages_that_are_imported(stage: str) -> None:
    listed = [dependency for dependency in PIPELINE[stage]["deps"] if is_code(dependency)]
    assert listed == code(stage), "run python -m tools.stage_packages --write"


def test_the_file_is_short_enough_to_be_read() -> None:
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 215
    assert sum(line.strip().startswith(("- classifier/", "- stages/")) for line in lines) <= 35


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_exactly_the_sections_that_are_loaded(stage: str) -> None:
    script = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    read = []
    for section, keys in set(re.findall(r'\bload\("(\w+)", \w+(?:, only=\((.*?)\))?', script)):
        read += [f"{section}.{key}" for key in re.findall(r"\w+", keys)] or [section]
    if stage == "plot":  # the report shows every parameter
        assert read == ["plot"]
        assert PIPELINE[stage]["params"] == [{"params.yaml": None}]
    else:
        assert PIPELINE[stage]["params"] == sorted(read)


def test_every_section_is_read_by_a_stage() -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    read = {
        section.partition(".")[0]
        for name, stage in PIPELINE.items()
        for section in (["plot"] if name == "plot" else stage["params"])
    }
    assert set(sections) == read


@pytest.mark.parametrize("stage", ["download", "split", "preprocess", "plot"])
def test_light_stages_never_import_torch(stage: str) -> None:
    """Importing torch costs seconds, and these stages have no use for it."""
    script = f"import sys, {', '.join(sorted(imports(stage)))}\n"
    script += "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_a_checkout_with_other_line_ends_has_the_same_bytes(tmp_path: Path) -> None:
    """Git's autocrlf, usual on Windows, would give every dependency another hash."""
    workspace.fresh(tmp_path / "project", with_results=False)
    clone = ["git", "-c", "core.autocrlf=true", "clone", "-q", "project", "clone"]
    subprocess.run(clone, cwd=tmp_path, check=True)
    for name in ("dvc.yaml", "params.yaml", "classifier/cli.py", "requirements.txt"):
        assert b"\r\n" not in (tmp_path / "clone" / name).read_bytes(), name
