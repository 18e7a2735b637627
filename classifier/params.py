"""Load one section of params.yaml into one frozen dataclass, or say exactly what is wrong with it.

Unknown, missing and mistyped keys are refused: a misspelt hyperparameter that is silently ignored
costs its user a training run and a wrong conclusion.
"""

import dataclasses
import difflib
import math
import operator
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from classifier.errors import UserError

T = TypeVar("T")

PARAMS_FILE = Path("params.yaml")


class Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but 5e-4 is a number, and a key given twice is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise UserError(f"the key {key!r} stands twice (line {line}): remove one of them.")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# PyYAML's own pattern wants a dot in the mantissa and a sign in the exponent.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


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
    try:
        content = yaml.load(text, Loader=Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of sections.")
    return content


def parse(cls: type[T], content: Any, key: str) -> T:
    """Build the dataclass ``cls`` from parsed YAML; ``key`` names the place in error messages."""
    if content is None:
        content = {}
    if not isinstance(content, Mapping):
        raise UserError(f"{key} must be a mapping of keys to values, not {content!r}.")
    hints = get_type_hints(cls, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for name in content:
        if name not in fields:
            raise UserError(f"{key}.{name} is not a parameter{suggestion(str(name), fields)}.")
    values = {}
    for name, field in fields.items():
        if name in content:
            values[name] = _convert(content[name], hints[name], f"{key}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{key}.{name} is missing: add it ({describe(hints[name])}).")
    try:
        return cls(**values)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from None


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """What to append to "X is not …": in brackets, the nearest known name or the list of them."""
    known = list(known)
    listing = f"known: {', '.join(known)}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not near:
        return f" ({listing})"
    guess = f"did you mean {near[0]!r}?"
    return f" ({guess})" if len(known) > 20 else f" ({guess} K{listing[1:]})"


def _convert(value: Any, hint: Any, key: str) -> Any:
    origin = get_origin(hint)
    if origin is Annotated:
        base, *constraints = get_args(hint)
        converted = _convert(value, base, key)
        for name, bound in _bounds(constraints):
            if not _COMPARE[name][1](converted, bound):
                raise UserError(f"{key} is {value!r}: give {describe(hint)}.")
        return converted
    if origin in (Union, types.UnionType):
        return _convert_union(value, hint, key)
    if origin is Literal:
        for choice in get_args(hint):
            if value == choice and type(value) is type(choice):
                return value
        choices = [str(choice) for choice in get_args(hint)]
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint_text = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(f"{key} is {value!r}: choose {_either(choices)}{hint_text}.")
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{key} is {value!r}: give {describe(hint)}.")
        item = get_args(hint)[0]
        return tuple(_convert(part, item, f"{key}[{i}]") for i, part in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type[Any], hint), value, key)
    if hint is type(None):
        if value is None:
            return None
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif hint in (bool, int, str) and type(value) is hint:
        return value
    raise UserError(f"{key} is {value!r}: give {describe(hint)}.")


def _convert_union(value: Any, hint: Any, key: str) -> Any:
    options = get_args(hint)
    for option in options:
        try:
            return _convert(value, option, key)
        except UserError as error:
            # A mapping can only have been meant for the one dataclass among the options, and a
            # number for the one range: the reason found there says more than a list of types.
            meant = (isinstance(value, Mapping) and dataclasses.is_dataclass(option)) or (
                get_origin(option) is Annotated
                and isinstance(value, int | float)
                and not isinstance(value, bool)
            )
            if meant:
                raise error from None
    raise UserError(f"{key} is {value!r}: give {describe(hint)}.")


def _bounds(constraints: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The ("gt" | "ge" | "lt" | "le", bound) pairs of annotated_types constraints."""
    for constraint in constraints:
        for name in _COMPARE:
            if getattr(constraint, name, None) is not None:
                yield name, getattr(constraint, name)


_COMPARE = {
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}


def describe(hint: Any) -> str:
    """What a value of this type looks like, for the end of an error sentence."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *constraints = get_args(hint)
        bounds = [f"{_COMPARE[name][0]} {bound}" for name, bound in _bounds(constraints)]
        return describe(base) + (f" {' and '.join(bounds)}" if bounds else "")
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(hint))
    if origin is Literal:
        return _either([str(choice) for choice in get_args(hint)])
    if origin is tuple:
        return f"a list, each {describe(get_args(hint)[0])}"
    if dataclasses.is_dataclass(hint):
        return f"a mapping with {', '.join(field.name for field in dataclasses.fields(hint))}"
    return _TYPE_NAMES.get(hint, str(hint))


_TYPE_NAMES = {
    type(None): "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
}


def _either(choices: Sequence[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
