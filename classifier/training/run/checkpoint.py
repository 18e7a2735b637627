"""The state of a run in progress, so that a run killed at any moment goes on where it was.

The state lives outside of the declared outputs, which DVC restores before a stage runs, in a
folder named after what decides the result, see `classifier.training.run_key`. Another parameter is
another folder, so nothing stale is ever taken up.
"""

import contextlib
import hashlib
import io
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from classifier.core.errors import UserError
from classifier.core.files import replacing

# Runs that were abandoned leave their states behind; a later run removes them.
KEPT_RUNS = 8  # the newest
FORGOTTEN_AFTER = 14 * 24 * 3600  # seconds
PERHAPS_RUNNING = 3600  # seconds: a state as new as this is never removed


class Checkpoints:
    """The newest two states of one run.

    A file is a SHA-256 digest followed by what torch.save wrote, so that one which was cut short
    or damaged is noticed; then the one before it serves, or the run begins afresh.
    """

    def __init__(self, folder: Path, every: str) -> None:
        """Keep states in ``folder``, as often as ``every`` says, see `interval`."""
        self.folder = folder
        self.files = (folder / "newest.state", folder / "previous.state")
        self.epochs, self.seconds = interval(every)
        self.saved_at = time.monotonic()
        self.unsaved_epochs = 0
        _forget_abandoned(folder)

    def due(self, epoch_ended: bool) -> bool:
        """Whether it is time to save; to be asked after each step."""
        self.unsaved_epochs += epoch_ended
        if self.seconds:
            return time.monotonic() - self.saved_at >= self.seconds
        return epoch_ended and self.unsaved_epochs >= self.epochs

    def save(self, state: dict[str, Any]) -> None:
        """Save nested dicts and lists of tensors, numbers and texts."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getbuffer()
        self.folder.mkdir(parents=True, exist_ok=True)
        newest, previous = self.files
        with replacing(newest) as temporary:
            with temporary.open("wb") as file:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if newest.exists():
                os.replace(newest, previous)
        self.saved_at = time.monotonic()
        self.unsaved_epochs = 0

    def load(self) -> dict[str, Any] | None:
        """The newest whole state, with tensors on the CPU; None when there is none."""
        for path in self.files:
            try:
                content = path.read_bytes()
                if hashlib.sha256(content[32:]).digest() == content[:32]:
                    state: dict[str, Any] = torch.load(
                        io.BytesIO(content[32:]), map_location="cpu", weights_only=True
                    )
                    return state
            except OSError:
                continue
        return None

    def remove(self) -> None:
        """Forget the run: it has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)


def interval(text: str) -> tuple[int, float]:
    """``1 epoch``, ``5 epochs`` -> (epochs, 0); ``5 minutes``, ``0.5 minutes`` -> (0, seconds).

    Raises:
        UserError: for any other text.
    """
    number, _, unit = text.strip().partition(" ")
    try:
        match unit.strip().rstrip("s"):
            case "epoch" if int(number) >= 1:
                return int(number), 0.0
            case "minute" if 0 < float(number) < float("inf"):
                return 0, 60 * float(number)
    except ValueError:
        pass
    raise UserError(
        f"train.checkpoint_every: {text!r} is no interval; write for example"
        " '1 epoch' or '5 minutes'."
    )


def _forget_abandoned(folder: Path) -> None:
    """Remove what other runs have left beside ``folder``, and halves that kills left in it."""
    now = time.time()
    ages: dict[Path, float] = {}
    for other in folder.parent.glob("*/"):
        with contextlib.suppress(OSError):  # another run removed it in this moment
            ages[other] = now - other.stat().st_mtime
    ages.pop(folder, None)
    for number, other in enumerate(sorted(ages, key=lambda path: ages[path])):
        limit = FORGOTTEN_AFTER if number < KEPT_RUNS else PERHAPS_RUNNING
        if ages[other] > limit:
            shutil.rmtree(other, ignore_errors=True)
    for half in folder.glob(".*.partial"):
        with contextlib.suppress(OSError):
            if now - half.stat().st_mtime > PERHAPS_RUNNING:
                half.unlink()
