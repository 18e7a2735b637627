"""`repair`: put right what a killed run or a full disk left behind, before DVC fails at it."""

import argparse
from pathlib import Path

from classifier.core.params import read
from classifier.experiments.lock_file import mend_lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`repair` has no options of its own."""


def run(args: argparse.Namespace) -> int:
    """Mend dvc.lock, and say so where there was something to mend; refuse a broken params.yaml."""
    read()  # DVC, which reads it before any stage does, says less of it, and falls for bombs
    if done := mend_lock(Path()):
        print(f"{done}.")
    return 0
