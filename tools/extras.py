"""Extras of pyproject.toml, installed in the versions and with the hashes of requirements-dev.txt.

python -m tools.extras serve export
"""

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tools import ROOT

PINNED = ROOT / "requirements-dev.txt"
_BLOCK = re.compile(  # a pin, and its hashes
    r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==\S+[^\\\n]*\\\n(?: .*\n?)*", re.MULTILINE
)
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]


def wanted(names: list[str]) -> list[str]:
    """What the extras ask for; ends with one sentence where there is no such extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k != "dev"}
    unknown = [name for name in names if name not in extras]
    if unknown or not names:
        given = f"there is no extra {unknown[0]!r}" if unknown else "no extra is named"
        sys.exit(f"error: {given}: choose among {', '.join(extras)}.")
    return [requirement for name in names for requirement in extras[name]]


def blocks() -> dict[str, list[str]]:
    """The pins of each package by its plain name: lines with hashes, one pin for each platform."""
    found: dict[str, list[str]] = {}
    for block in _BLOCK.finditer(PINNED.read_text(encoding="utf-8")):
        found.setdefault(_plain(block[1]), []).append(block[0].rstrip("\n") + "\n")
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def install(names: list[str]) -> None:
    """Install what the extras need and is not there yet."""
    pinned = blocks()
    with tempfile.TemporaryDirectory() as folder:
        # pip takes no constraints with hashes: the versions say what is needed, then the hashes
        # are checked.
        versions = Path(folder, "versions.txt")
        first = (pin.split("\n")[0].rstrip(" \\") for pins in pinned.values() for pin in pins)
        versions.write_text("\n".join(first), encoding="utf-8")
        report = Path(folder, "report.json")
        dry = ["--dry-run", "--report", str(report), "-c", str(versions)]
        subprocess.run([*_PIP, *dry, *wanted(names)], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        needed = [_plain(one["metadata"]["name"]) for one in found]
        if not needed:
            return
        hashed = Path(folder, "hashed.txt")
        hashed.write_text("".join("".join(pinned[name]) for name in needed), encoding="utf-8")
        subprocess.run([*_PIP, "--require-hashes", "--no-deps", "-r", str(hashed)], check=True)


if __name__ == "__main__":
    try:
        install(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
