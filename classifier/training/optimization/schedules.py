"""Learning rates over time: each schedule is a factor on ``train.lr``, a function of the step.

Except for ``plateau`` they have no state, so an interrupted run needs nothing but its step number
to go on with the same learning rates.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

ScheduleName = Literal["constant", "step", "cosine", "onecycle", "linear", "plateau"]

ONE_CYCLE_RISE = 0.3  # of the run, where no warm-up is asked for
ONE_CYCLE_START = 1 / 25  # of the peak
ONE_CYCLE_END = 1e-5  # of the peak: torch's OneCycleLR ends at start / 1e4 = 4e-6


@dataclass
class Schedule:
    """The factor of every step of a run.

    - ``constant``: 1.
    - ``step``: times ``gamma`` after every ``step_epochs`` epochs.
    - ``cosine``: half a cosine from 1 down to 0 (Loshchilov and Hutter 2017, SGDR).
    - ``linear``: a line from 1 down to 0.
    - ``onecycle``: up along a cosine from 1/25 to 1, then down to almost 0 (Smith and Topin 2018);
      the warm-up is the rise, 30 % of the run where none is given.
    - ``plateau``: times ``gamma`` when ``plateau_patience`` epochs in a row bring nothing better.

    Every schedule but ``onecycle`` begins with a linear rise from 0 over ``warmup_steps``
    (Goyal et al. 2017) and runs its course over the steps that remain.
    """

    name: ScheduleName
    steps: int
    """of the whole run"""
    steps_per_epoch: int
    warmup_steps: int = 0
    gamma: float = 0.1
    step_epochs: float = 10
    plateau_patience: int = 3
    _scale: float = field(default=1.0, init=False)
    _waited: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.name not in get_args(ScheduleName):
            raise ValueError(f"no schedule is called {self.name!r}")
        if self.name == "onecycle" and not self.warmup_steps:
            self.warmup_steps = max(1, round(ONE_CYCLE_RISE * self.steps))

    def factor(self, step: int) -> float:
        """The factor of a step, counted from 0."""
        warmup = self.warmup_steps
        if step < warmup:
            if self.name == "onecycle":
                return _cosine(ONE_CYCLE_START, 1.0, step / warmup)
            return (step + 1) / (warmup + 1)
        done = (step - warmup) / max(1, self.steps - warmup)
        match self.name:
            case "step":
                epochs = (step - warmup) / self.steps_per_epoch
                return self.gamma ** math.floor(epochs / self.step_epochs + 1e-9)
            case "cosine":
                return _cosine(1.0, 0.0, done)
            case "linear":
                return 1.0 - done
            case "onecycle":
                return _cosine(1.0, ONE_CYCLE_END, done)
        return self._scale

    def epoch_ended(self, improved: bool) -> None:
        """Tell ``plateau`` whether the epoch was better than all before; others do not mind."""
        self._waited = 0 if improved else self._waited + 1
        if self.name == "plateau" and self._waited > self.plateau_patience:
            self._scale *= self.gamma
            self._waited = 0

    def state_dict(self) -> dict[str, float]:
        """What has to be saved to continue."""
        return {"scale": self._scale, "waited": self._waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take what `state_dict` gave."""
        self._scale, self._waited = state["scale"], int(state["waited"])


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, done))) / 2
