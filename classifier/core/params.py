"""Read params.yaml as DVC reads it, and load a section of it.

That is YAML 1.2 by ruamel.yaml, where ``010`` is 10, ``on`` a text and ``5e-4`` a number. With
PyYAML, which reads YAML 1.1, DVC would record other values than the stages compute with.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError

from classifier.core.errors import UserError
from classifier.core.parse import T, parse

PARAMS_FILE = Path("params.yaml")


def load(section: str, cls: type[T], path: str | Path = PARAMS_FILE) -> T:
    """Read the top-level key ``section`` of a YAML file as an instance of the dataclass ``cls``.

    Raises:
        UserError: the file or the section is missing, or a key of it is unknown, missing,
            of the wrong type, or out of its range.
    """
    content = read(path)
    if section not in content:
        raise UserError(f"{path} has no section {section!r}: add it (see docs/parameters.md).")
    return parse(cls, content[section], section)


def read(path: str | Path = PARAMS_FILE) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from the project's top folder.") from None
    return read_text(text, path)


def read_text(text: str, name: str | Path) -> dict[str, Any]:
    """Read YAML whose top level is a mapping; ``name`` says in errors whose text it is."""
    try:
        content = YAML(typ="safe").load(text)
    except DuplicateKeyError as error:
        key, line = error.problem.split('"')[1], error.problem_mark.line + 1
        raise UserError(
            f"{name}: the key {key!r} stands twice (line {line}): remove one of them."
        ) from None
    except (YAMLError, ValueError) as error:
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold a mapping of sections.")
    return content


# Parameters whose value is a mapping: its keys are names of classes, with dots and blanks in them.
_WHOLE = ("class_weights",)


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 0.1}} -> {"train.lr": 0.1}."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value and key not in _WHOLE:
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
