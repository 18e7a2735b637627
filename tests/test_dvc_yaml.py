"""dvc.yaml tells the truth: each stage lists the code it imports and the sections it reads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import workspace
from tests.import_closure import ROOT, closure, is_code

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = ["download", "split", "preprocess", "train", "evaluate", "plot"]


def test_the_stages_are_those_of_the_readme() -> None:
    assert list(PIPELINE) == STAGES
    for name, stage in PIPELINE.items():
        assert stage["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_are_exactly_the_imports(stage: str) -> None:
    listed = [dependency for dependency in PIPELINE[stage]["deps"] if is_code(dependency)]
    assert listed == sorted(closure(f"stages.{stage}")), (
        "run python -m tests.import_closure --write"
    )


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_exactly_the_sections_that_are_loaded(stage: str) -> None:
    script = (ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8")
    read = sorted(set(re.findall(r'\bload\("(\w+)"', script)))
    if stage == "plot":  # the report shows every parameter
        assert read == ["plot"]
        assert PIPELINE[stage]["params"] == [{"params.yaml": None}]
    else:
        assert PIPELINE[stage]["params"] == read


def test_every_section_is_read_by_a_stage() -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    read = {
        section
        for name, stage in PIPELINE.items()
        for section in (["plot"] if name == "plot" else stage["params"])
    }
    assert set(sections) == read


@pytest.mark.parametrize("stage", ["download", "split", "preprocess", "plot"])
def test_light_stages_never_import_torch(stage: str) -> None:
    """Importing torch costs seconds, and these stages have no use for it."""
    imports = [
        path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in sorted(closure(f"stages.{stage}"))
        if path.endswith(".py")
    ]
    code = f"import sys, importlib\nfor m in {imports!r}: importlib.import_module(m)\n"
    code += "sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_stage_imports_another() -> None:
    for stage in STAGES:
        others = {f"stages/{other}.py" for other in STAGES if other != stage}
        assert not closure(f"stages.{stage}") & others


def test_imports_follow_functions_packages_and_type_checking(tmp_path: Path) -> None:
    package = tmp_path / "classifier"
    (package / "deep").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "a.py": "def f():\n    from classifier.deep import b\n",
        "deep/__init__.py": "",
        "deep/b.py": "from typing import TYPE_CHECKING\nfrom . import c\n"
        "if TYPE_CHECKING:\n    from classifier import never\n",
        "deep/c.py": "import json\n",
        "never.py": "",
        "report.py": "",
        "report_page/page.html": "",
    }
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    expected = {"__init__.py", "a.py", "deep/__init__.py", "deep/b.py", "deep/c.py"}
    assert closure("classifier.a", tmp_path) == {f"classifier/{name}" for name in expected}
    assert closure("classifier.report.page", tmp_path) == {
        "classifier/__init__.py",
        "classifier/report/page.py",
        "classifier/report/page/page.html",
    }


def test_a_checkout_with_other_line_ends_has_the_same_bytes(tmp_path: Path) -> None:
    """Git's autocrlf, usual on Windows, would give every dependency another hash."""
    workspace.fresh(tmp_path / "project", with_results=False)
    clone = ["git", "-c", "core.autocrlf=true", "clone", "-q", "project", "clone"]
    subprocess.run(clone, cwd=tmp_path, check=True)
    for name in ("dvc.yaml", "params.yaml", "classifier/cli.py", "requirements.txt"):
        assert b"\r\n" not in (tmp_path / "clone" / name).read_bytes(), name
