"""Generators of what is written down from the code; each mends its files with `--write`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
