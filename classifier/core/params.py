"""Read params.yaml, with scalars as DVC reads them, and load a section of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from classifier.core.errors import UserError
from classifier.core.parse import T, parse

PARAMS_FILE = Path("params.yaml")


class Loader(yaml.SafeLoader):
    """YAML 1.2 with the scalars that DVC reads in params.yaml; a key given twice is an error.

    PyYAML alone reads YAML 1.1, where ``010`` is 8, ``on`` is true and ``5e-4`` is a text. DVC
    would record other values than the stages compute with.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise UserError(f"the key {key!r} stands twice (line {line}): remove one of them.")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: Any) -> int:
        text = self.construct_scalar(node).replace("_", "")
        based = re.match("[-+]?0[box]", text)
        return int(text, 0 if based else 10)


# The patterns of ruamel.yaml, with which DVC reads: its resolver's implicit_resolvers for (1, 2).
_SCALARS = {
    "bool": ("true|True|TRUE|false|False|FALSE", "tTfF"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "int": ("[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+", "-+0123456789"),
}
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag.rpartition(":")[2] not in _SCALARS]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, (_pattern, _first) in _SCALARS.items():
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)


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
        content = yaml.load(text, Loader=Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split())}.") from None
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
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
