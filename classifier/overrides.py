"""Changes to params.yaml for one experiment: read as `key=value`, checked, handed to DVC."""

import importlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from classifier.errors import UserError
from classifier.params import PARAMS_FILE, Loader, parse, read, suggestion

# Where the dataclass of each section lives: the module that consumes it.
SECTIONS = {
    "download": ("classifier.sources", "DownloadParams"),
    "split": ("classifier.splits", "SplitParams"),
    "preprocess": ("classifier.prepare", "PreprocessParams"),
    "augment": ("classifier.augment", "AugmentParams"),
    "model": ("classifier.models", "ModelParams"),
    "train": ("classifier.training", "TrainParams"),
    "evaluate": ("classifier.scoring", "EvaluateParams"),
    "plot": ("classifier.report", "PlotParams"),
}


@dataclass(frozen=True)
class Sweep:
    """Several values of one parameter, each for an experiment of its own."""

    choices: tuple[Any, ...]


def parse_overrides(texts: Sequence[str], sweeps: bool = False) -> dict[str, Any]:
    """["train.lr=5e-4"] -> {"train.lr": 0.0005}; the value is read as YAML, like params.yaml.

    With ``sweeps``, "train.seed=1,2" becomes a ``Sweep`` of 1 and 2.

    Raises:
        UserError: a text is not of the form key=value, or a key stands twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not re.fullmatch(r"\w+(\.\w+)+", key):
            raise UserError(f"-S {text}: give section.key=value, say -S train.lr=0.001.")
        if key in found:
            raise UserError(f"-S {key} is given twice: keep one of them.")
        choices = tuple(parse_value(part, key) for part in split_commas(value))
        if len(choices) > 1 and not sweeps:
            raise UserError(f"-S {text} has {len(choices)} values: add --queue to try them all.")
        found[key] = Sweep(choices) if len(choices) > 1 else choices[0]
    return found


def split_commas(text: str) -> list[str]:
    """Split at the commas that stand outside brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in ")}]":
            depth -= 1
        elif letter == "," and not depth:
            parts.append("")
            continue
        parts[-1] += letter
    return parts


def parse_value(text: str, key: str) -> Any:
    """One value as YAML reads it."""
    try:
        return yaml.load(text, Loader=Loader)  # a SafeLoader
    except yaml.YAMLError:
        raise UserError(f"-S {key}={text}: the value is not valid YAML: quote it.") from None


def combinations(changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every experiment that the sweeps among the changes ask for: their grid."""
    choices = [
        value.choices if isinstance(value, Sweep) else (value,) for value in changes.values()
    ]
    for picked in itertools.product(*choices):
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
            place[name] = dict(place.get(name) or {})
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
    return [part for key, value in changes.items() for part in ("-S", f"++{key}={_hydra(value)}")]


def _hydra(value: Any) -> str:
    """A value in the grammar of Hydra's overrides, which DVC uses.

    https://hydra.cc/docs/advanced/override_grammar/basic/
    """
    if isinstance(value, Sweep):
        return ",".join(_hydra(choice) for choice in value.choices)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_hydra(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_hydra(item) for item in value) + "]"
    return "'" + str(value).replace("'", "\\'") + "'"


def dvc(
    *arguments: str, root: Path = Path(), quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a DVC command; ``quiet`` collects its output (errors among it) instead of showing it."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def environment() -> dict[str, str]:
    """The environment for DVC: stages call `python`, and that has to be this one."""
    folder = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": folder + os.pathsep + os.environ.get("PATH", "")}
