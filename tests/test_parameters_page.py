"""docs/parameters.md says what params.yaml and the code say."""

from pathlib import Path

import yaml

from classifier.params import load
from tests.import_closure import ROOT
from tests.parameters_page import PAGE, SECTIONS, load_class, page


def test_the_page_is_true() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.parameters_page --write"


def test_the_defaults_load_and_every_key_is_explained() -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert list(sections) == list(SECTIONS)
    for section, (name, _) in SECTIONS.items():
        load(section, load_class(name), ROOT / "params.yaml")
    for line in Path(ROOT / "params.yaml").read_text(encoding="utf-8").splitlines():
        if ":" in line.split("#")[0] and not line.rstrip().endswith(":"):
            assert "#" in line, f"say what it means, its unit or choices: {line.strip()}"
