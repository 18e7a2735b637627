"""Read params.yaml as DVC reads it, and load a section of it.

That is YAML 1.2 by ruamel.yaml, where ``010`` is 10, ``on`` a text and ``5e-4`` a number. With
PyYAML, which reads YAML 1.1, DVC would record other values than the stages compute with.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    ScalarEvent,
)

from classifier.core.errors import UserError
from classifier.core.parse import T, parse
from classifier.core.wording import quoted, short

PARAMS_FILE = Path("params.yaml")
# What people write is far below; above it a few lines can take minutes and gigabytes to read.
_LARGEST = 1 << 20  # characters
_MOST_VALUES = 10_000  # with the aliases (*name) written out
_DEEPEST = 50  # collections within each other


def load(
    section: str, cls: type[T], path: str | Path = PARAMS_FILE, only: Collection[str] | None = None
) -> T:
    """Read the top-level key ``section`` of a YAML file as an instance of the dataclass ``cls``.

    Args:
        only: the keys that are another stage's as well, where that stage checks the other ones.

    Raises:
        UserError: the file or the section is missing, or a key of it is unknown, missing,
            of the wrong type, or out of its range.
    """
    content = read(path)
    if section not in content:
        raise UserError(f"{path} has no section {section!r}: add it (see docs/parameters.md).")
    values = content[section]
    if values is None:  # would be the defaults of all keys, where all have one
        raise UserError(
            f"{path}: the section {section!r} is empty: write its keys (see docs/parameters.md), or"
            f" `{section}: {{}}` for none."
        )
    if only is not None and isinstance(values, Mapping):
        values = {key: value for key, value in values.items() if key in only}
    return parse(cls, values, section)


def read(path: str | Path = PARAMS_FILE) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run from the project's top folder.") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start + 1:,}): save it in that encoding."
        ) from None
    return read_text(text, path)


def read_text(text: str, name: str | Path) -> dict[str, Any]:
    """Read YAML whose top level is a mapping; ``name`` says in errors whose text it is."""
    try:
        if len(text) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} characters")
        yaml = YAML(typ="safe")
        # Most files hold no alias and too few brackets to be nested so deep.
        if "*" in text or text.count("[") + text.count("{") > _DEEPEST:
            _check_size(yaml.parse(text))
        content = yaml.load(text)
    except DuplicateKeyError as error:
        key, line = error.problem.split('"')[1], error.problem_mark.line + 1
        raise UserError(
            f"{name}: the key {quoted(key)} stands twice (line {line}): remove one of them."
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:
        reason = short(" ".join(str(error).split()), 400)
        raise UserError(f"{name} is not valid YAML: {reason}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{name} must hold a mapping of sections.")
    return content


def _check_size(events: Iterable[Event]) -> None:
    """Refuse what is nested too deep, and aliases that stand for each other thousands of times.

    An alias costs nothing until it is written out, by a merge, in a message or in dvc.lock.

    Raises:
        ValueError: the reason.
    """
    sizes: dict[str, int] = {}  # of the values that have an anchor, in scalars and collections
    opened: list[tuple[str | None, int]] = []  # anchor, and number of values before its own
    count = 0
    for event in events:
        if isinstance(event, CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = count - before
        elif isinstance(event, CollectionStartEvent):
            opened.append((event.anchor, count))
            count += 1
            if len(opened) > _DEEPEST:
                raise ValueError(f"its values are nested more than {_DEEPEST} deep")
        elif isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                raise ValueError(f"*{event.anchor} stands within the value that it names")
            count += sizes.get(event.anchor, 1)
        elif isinstance(event, ScalarEvent):
            count += 1
        if count > _MOST_VALUES:
            raise ValueError(f"its aliases stand for more than {_MOST_VALUES:,} values")


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
