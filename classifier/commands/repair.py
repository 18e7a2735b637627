"""`repair`: put right what a killed run or a full disk left behind."""

import argparse
from pathlib import Path

from classifier.experiments.lock_file import mend_lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`repair` has no options of its own."""


def run(args: argparse.Namespace) -> int:
    """Mend dvc.lock, and say so where there was something to mend."""
    if done := mend_lock(Path()):
        print(f"{done}.")
    return 0
