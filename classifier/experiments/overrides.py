"""Changes to params.yaml for one experiment: read as `key=value`, checked, handed to DVC."""

import argparse
import importlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    Transformer,
)
from hydra.errors import HydraException

from classifier.core.errors import UserError, suggestion
from classifier.core.params import PARAMS_FILE, read
from classifier.core.parse import parse

# Where the dataclass of each section lives: beside the code that consumes it.
SECTIONS = {
    "download": ("classifier.sources.download", "DownloadParams"),
    "split": ("classifier.splits.assign", "SplitParams"),
    "preprocess": ("classifier.preprocessing.prepare", "PreprocessParams"),
    "augment": ("classifier.augment.augmenter", "AugmentParams"),
    "model": ("classifier.models.registry", "ModelParams"),
    "train": ("classifier.training.params", "TrainParams"),
    "evaluate": ("classifier.metrics.scoring", "EvaluateParams"),
    "plot": ("classifier.report.page", "PlotParams"),
}


@dataclass(frozen=True)
class Sweep:
    """Several values of one parameter, each for an experiment of its own."""

    choices: tuple[Any, ...]


def _log(start: int | float, end: int | float) -> IntervalSweep:
    return IntervalSweep(start=start, end=end, tags={"log"})


_PARSER = OverridesParser.create()
_PARSER.functions.register("log", _log)  # short for tag(log, interval(…)), whole numbers stay whole


def add_changes(parser: argparse.ArgumentParser, meaning: str, metavar: str = "key=value") -> None:
    """Declare -S, which may be given several times, and whose texts are ``changes``."""
    parser.add_argument(
        "-S", dest="changes", action="append", default=[], metavar=metavar, help=meaning
    )


def read_overrides(texts: Sequence[str]) -> dict[str, Override]:
    """["train.lr=5e-4"] -> {"train.lr": …}, in the grammar of Hydra, which `dvc exp run -S` reads.

    https://hydra.cc/docs/advanced/override_grammar/basic/

    Raises:
        UserError: a text is not of the form key=value, or a key stands twice.
    """
    found: dict[str, Override] = {}
    for text in texts:
        named = re.match(r"\+{0,2}(\w+(?:\.\w+)+)=", text)
        if not named:
            raise UserError(f"-S {text}: give section.key=value, say -S train.lr=0.001.")
        if named[1] in found:
            raise UserError(f"-S {named[1]} is given twice: keep one of them.")
        with _explained(text):
            override = found[named[1]] = _PARSER.parse_override(text)
            if override.is_choice_sweep():
                list(override.sweep_string_iterator())  # refuses a glob
            elif not override.is_sweep_override():
                override.get_value_element_as_str()  # refuses a sweep inside of a list
    return found


def parse_overrides(texts: Sequence[str], sweeps: bool = False) -> dict[str, Any]:
    """["train.lr=5e-4"] -> {"train.lr": 0.0005}.

    With ``sweeps``, "train.seed=1,2", choice(1,2) and range(1,3) become a ``Sweep`` of 1 and 2.

    Raises:
        UserError: as `read_overrides`; or there are several values and no ``sweeps``.
    """
    found: dict[str, Any] = {}
    for key, override in read_overrides(texts).items():
        if not override.is_sweep_override():
            found[key] = override.value()
            continue
        if override.is_interval_sweep():
            raise UserError(f"-S {override.input_line}: only tune searches an interval.")
        values = tuple(choices(override).values())
        if len(values) > 1 and not sweeps:
            raise UserError(
                f"-S {override.input_line} has {len(values)} values: give one, or run them all with"
                " recipe --queue, or search them with tune."
            )
        found[key] = Sweep(values) if len(values) > 1 else values[0]
    return found


def choices(override: Override) -> dict[str, Any]:
    """The different values of a choice or a range, by their text.

    Raises:
        UserError: there is none.
    """
    with _explained(str(override.input_line)):
        texts = list(override.sweep_string_iterator())
    if not texts:
        raise UserError(f"-S {override.input_line} holds no value: the end of a range is left out.")
    return {text: _PARSER.parse_override(f"key={text}").value() for text in texts}


@contextmanager
def _explained(text: str) -> Iterator[None]:
    """Say in one sentence what Hydra cannot read."""
    try:
        yield
    except (HydraException, ValueError) as error:
        key, _, value = text.partition("=")
        if re.match(r"[\w ]+\(", value):
            advice = "give choice(a,b,…), range(a,b), range(a,b,step) or, to tune, interval(a,b) or"
            advice += " log(a,b), with numbers for bounds"
        else:
            reason = str(error).splitlines()[0]
            advice = f"{reason}; quote a value with special characters, -S \"{key}='…'\""
        raise UserError(f"-S {text}: {advice}.") from None


def combinations(changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every experiment that the sweeps among the changes ask for: their grid."""
    values = [value.choices if isinstance(value, Sweep) else (value,) for value in changes.values()]
    for picked in itertools.product(*values):
        yield dict(zip(changes, picked, strict=True))


def check(changes: Mapping[str, Any], root: Path = Path()) -> dict[str, Any]:
    """Load every section that the changes touch as its stage will; returns the sections.

    Args:
        changes: values by full key, say {"train.lr": 0.1}.
        root: the project's top folder.

    Raises:
        UserError: a key is unknown, or a value is of the wrong type or out of range.
    """
    content = read(root / PARAMS_FILE)
    for key, value in changes.items():
        section, *inner = key.split(".")
        if section not in content:
            raise UserError(
                f"{section} is not a section of {PARAMS_FILE}{suggestion(section, content)}."
            )
        place = content
        for name in (section, *inner[:-1]):
            found = place.get(name)
            place[name] = dict(found) if isinstance(found, Mapping) else {}
            place = place[name]
        place[inner[-1]] = value
    loaded = {}
    for section in dict.fromkeys(key.split(".")[0] for key in changes):
        loaded[section] = parse(dataclass_of(section), content[section], section)
    return loaded


def dataclass_of(section: str) -> type[Any]:
    """The dataclass that a section of params.yaml is loaded into."""
    module, name = SECTIONS[section]
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def flags(changes: Mapping[str, Any]) -> list[str]:
    """The changes as options of `dvc exp run`.

    ``++`` also sets keys that params.yaml leaves at their defaults; ``check`` has seen to it that
    they exist.
    """
    return [part for key, value in changes.items() for part in ("-S", f"++{key}={_text(value)}")]


def _text(value: Any) -> str:
    """A value in Hydra's grammar."""
    if isinstance(value, Sweep):
        return ",".join(_text(choice) for choice in value.choices)
    return str(Transformer.str(_quoted(value)))


def _quoted(value: Any) -> Any:
    """The value with its texts in quotes, so that "5" stays a text."""
    if isinstance(value, str):
        return QuotedString(value, Quote.single)
    if isinstance(value, Mapping):
        return {key: _quoted(item) for key, item in value.items()}
    return [_quoted(item) for item in value] if isinstance(value, list | tuple) else value
