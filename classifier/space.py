"""What a search may choose from: `train.lr=log(1e-4,1e-1)`, `train.optimizer=choice(adamw,sgd)`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from classifier.errors import UserError
from classifier.overrides import parse_value, split_commas

if TYPE_CHECKING:
    from optuna import Trial

Kind = Literal["log", "interval", "range", "choice"]


@dataclass(frozen=True)
class Axis:
    """The values that one parameter may take.

    log and interval: ``bounds`` low and high, log evenly over the orders of magnitude. range: low,
    high and step, both ends included. Of log and range whole bounds give whole numbers. choice:
    ``texts``, each a YAML value.
    """

    key: str
    kind: Kind
    bounds: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return self.kind in ("log", "range") and all(type(bound) is int for bound in self.bounds)

    def suggest(self, trial: "Trial") -> Any:
        """Have Optuna choose; it knows choices by their text."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.key, self.texts)
        low, high = self.bounds[:2]
        step = self.bounds[2] if self.kind == "range" else None
        if self.whole:
            log = self.kind == "log"
            return trial.suggest_int(self.key, int(low), int(high), step=int(step or 1), log=log)
        return trial.suggest_float(self.key, low, high, step=step, log=self.kind == "log")

    def value(self, chosen: Any) -> Any:
        """The parameter's value for what Optuna chose."""
        return parse_value(chosen, self.key) if self.kind == "choice" else chosen

    def place(self, value: Any) -> Any:
        """The opposite: what Optuna calls a value, or None when it is not on this axis."""
        if self.kind == "choice":
            same = [text for text in self.texts if parse_value(text, self.key) == value]
            return same[0] if same else None
        low, high = self.bounds[:2]
        number = type(value) is int or (type(value) is float and not self.whole)
        if not number or not low <= value <= high:
            return None
        steps = (value - low) / self.bounds[2] if self.kind == "range" else 0
        return value if abs(steps - round(steps)) < 1e-9 else None

    def extremes(self) -> list[Any]:
        """Values that stand for all when the axis is checked."""
        if self.kind == "choice":
            return [self.value(text) for text in self.texts]
        return list(self.bounds[:2])


def parse_space(texts: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """Tell the axes of a search from the plain changes among -S options.

    Raises:
        UserError: an axis cannot be read, or two axes are of one key.
    """
    axes: dict[str, Axis] = {}
    plain = []
    for text in texts:
        found = re.fullmatch(r"([\w.]+)=(log|interval|range|choice)\((.*)\)", text)
        if not found:
            if "(" in text:
                raise UserError(
                    f"-S {text}: search with log(a,b), interval(a,b), range(a,b) or choice(a,b,…)."
                )
            plain.append(text)
            continue
        key, kind, inner = found.groups()
        if key in axes:
            raise UserError(f"-S {key} is searched twice: keep one of them.")
        parts = [part.strip() for part in split_commas(inner)]
        axes[key] = _axis(key, kind, parts, text)
    return list(axes.values()), plain


def _axis(key: str, kind: str, parts: Sequence[str], text: str) -> Axis:
    if kind == "choice":
        if len(set(parts)) < max(2, len(parts)):
            raise UserError(f"-S {text}: give two or more different values to choose from.")
        return Axis(key, "choice", texts=tuple(parts))
    bounds = [parse_value(part, key) for part in parts]
    if not all(isinstance(bound, int | float) for bound in bounds):
        raise UserError(f"-S {text}: {kind} takes numbers.")
    if kind == "range" and len(bounds) == 2:
        bounds.append(1)
    if len(bounds) != (3 if kind == "range" else 2):
        raise UserError(f"-S {text}: give {kind} a low and a high number.")
    if not bounds[0] < bounds[1] or (kind == "range" and bounds[2] <= 0):
        raise UserError(f"-S {text}: the low number comes first, and a step is above 0.")
    if kind == "log" and bounds[0] <= 0:
        raise UserError(f"-S {text}: log needs numbers above 0.")
    kinds: dict[str, Kind] = {"log": "log", "interval": "interval", "range": "range"}
    return Axis(key, kinds[kind], tuple(bounds))


def around(params: Mapping[str, Any]) -> Axis:
    """The search that is made when none is asked for: a decade either way of the learning rate."""
    rate = params["train.lr"]
    return Axis("train.lr", "log", (rate / 10, rate * 10))
