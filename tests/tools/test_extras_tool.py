"""Extras come in the versions that the tests run with."""

import tomllib

import pytest

from tools import ROOT
from tools.extras import PINNED, _plain, blocks, wanted


def test_every_pin_is_found_with_its_hashes() -> None:
    text = PINNED.read_text(encoding="utf-8")
    found = blocks()
    pins = [pin for pins in found.values() for pin in pins]
    assert "".join(sorted(pins)).count("--hash=sha256:") == text.count("--hash=sha256:")
    assert all("==" in pin.split("\n")[0] for pin in pins)


def test_what_each_extra_asks_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for name in project["optional-dependencies"] if name != "dev"]
    names = [_plain(asked.split(">")[0].split("[")[0]) for asked in wanted(extras)]
    assert set(names) <= set(blocks())
    with pytest.raises(SystemExit, match="no extra 'birds': choose among"):
        wanted(["birds"])
