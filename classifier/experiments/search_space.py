"""What a search may choose from: `train.lr=log(1e-4,1e-1)`, `train.optimizer=adamw,sgd`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override

from classifier.core.errors import UserError
from classifier.experiments.overrides import choices, read_overrides

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True)
class Axis:
    """The values that one parameter may take: ``choices`` by their text, or numbers.

    The numbers lie from ``low`` to ``high``, both included, ``step`` apart if there is a step,
    evenly over the orders of magnitude with ``log``. Whole bounds mean whole numbers.
    """

    key: str
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    choices: Mapping[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return type(self.low) is int and type(self.high) is int

    def suggest(self, trial: "Trial") -> Any:
        """Have Optuna choose; it knows choices by their text."""
        if self.choices:
            return trial.suggest_categorical(self.key, list(self.choices))
        if self.whole:
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(self.key, low, high, step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def value(self, chosen: Any) -> Any:
        """The parameter's value for what Optuna chose."""
        return self.choices[chosen] if self.choices else chosen

    def place(self, value: Any) -> Any:
        """The opposite: what Optuna calls a value, or None when it is not on this axis."""
        if self.choices:
            return next((text for text, choice in self.choices.items() if choice == value), None)
        number = type(value) is int or (type(value) is float and not self.whole)
        if not number or not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / self.step if self.step else 0
        return value if abs(steps - round(steps)) < 1e-9 else None

    def extremes(self) -> list[Any]:
        """Values that stand for all when the axis is checked."""
        return list(self.choices.values()) or [self.low, self.high]


def parse_space(texts: Sequence[str]) -> tuple[list[Axis], dict[str, Any]]:
    """Tell the axes of a search from the plain changes among -S options.

    Raises:
        UserError: an option cannot be read, or a key stands twice.
    """
    overrides = read_overrides(texts)
    axes = [_axis(key, found) for key, found in overrides.items() if found.is_sweep_override()]
    plain = {key: o.value() for key, o in overrides.items() if not o.is_sweep_override()}
    return axes, plain


def _axis(key: str, override: Override) -> Axis:
    text = override.input_line
    sweep: Any = override.value()
    if unknown := sweep.tags - ({"log"} if override.is_interval_sweep() else set()):
        raise UserError(
            f"-S {text}: there is no tag {min(unknown)} here; only log is known, of an interval."
        )
    if override.is_choice_sweep():
        axis = Axis(key, choices=choices(override))
        if len(axis.choices) < 2:
            raise UserError(f"-S {text}: give two or more different values to choose from.")
        return axis
    if override.is_interval_sweep():
        axis = Axis(key, sweep.start, sweep.end, log="log" in sweep.tags)
        if not axis.low < axis.high:
            raise UserError(f"-S {text}: the low number comes first.")
        if axis.log and axis.low <= 0:
            raise UserError(f"-S {text}: log needs numbers above 0.")
        return axis
    # Hydra leaves out the end of a range, as Python does.
    steps = math.ceil((sweep.stop - sweep.start) / sweep.step - 1e-9) - 1 if sweep.step > 0 else 0
    if steps < 1:
        raise UserError(
            f"-S {text}: the low number comes first, a step is above 0, and the end is left out, so"
            " that range(1,4) is 1, 2 and 3."
        )
    return Axis(key, sweep.start, sweep.start + steps * sweep.step, sweep.step)


def around(params: Mapping[str, Any]) -> Axis:
    """The search that is made when none is asked for: a decade either way of the learning rate."""
    rate = params["train.lr"]
    return Axis("train.lr", rate / 10, rate * 10, log=True)
