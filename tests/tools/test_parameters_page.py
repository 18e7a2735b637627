"""docs/parameters.md and the report's defaults say what params.yaml and the code say."""

import yaml

from classifier.core.params import load
from classifier.experiments.overrides import SECTIONS, dataclass_of
from classifier.models.registry import NETWORKS
from tools import ROOT
from tools.parameters_page import DEFAULTS, PAGE, comments, defaults, page


def test_the_page_and_the_defaults_are_true() -> None:
    for path, text in ((PAGE, page()), (DEFAULTS, defaults())):
        assert path.read_text(encoding="utf-8") == text, (
            "run python -m tools.parameters_page --write"
        )


def test_the_defaults_load_and_every_key_is_explained() -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert list(sections) == list(SECTIONS)
    for section in SECTIONS:
        load(section, dataclass_of(section), ROOT / "params.yaml")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    keys = comments(text)
    assert "train.lr" in keys
    sections_only = {key for key in keys if any(other.startswith(f"{key}.") for other in keys)}
    # One word says it all for these, wherever they stand.
    plain = {"batch_norm"}
    unexplained = [
        key
        for key, comment in keys.items()
        if not comment and key not in sections_only and key.rsplit(".")[-1] not in plain
    ]
    assert unexplained == [], "say what they mean, their unit or choices"


def test_every_network_has_its_section() -> None:
    """`-S model.NAME.x=1` fails where params.yaml lacks it."""
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["model"]
    assert set(NETWORKS) <= set(sections)
