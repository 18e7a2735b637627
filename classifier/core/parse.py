"""Turn plain values into a frozen dataclass, or say exactly what is wrong with them.

Unknown, missing and mistyped keys are refused: a misspelt hyperparameter that is silently ignored
costs its user a training run and a wrong conclusion. pydantic checks; this module words its answer.
"""

import dataclasses
import difflib
import functools
import json
import operator
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from classifier.core.errors import UserError, suggestion
from classifier.core.wording import short

T = TypeVar("T")

# Keys of earlier versions, and what they are called now.
RENAMED = {
    "model.views": "model.test_time_augmentation",
    "plot.pictures": "plot.images",
    "train.accumulate": "train.accumulation_steps",
    "train.average_decay": "train.ema_decay",
    "train.clip_norm": "train.gradient_clip_norm",
    "train.data": "train.data_placement",
    "train.first_scale": "train.progressive.first_scale",
    "train.full_scale_from": "train.progressive.full_from",
    "train.side_step": "train.progressive.step",
}


def parse(cls: type[T], content: Any, key: str) -> T:
    """Build the dataclass ``cls`` from parsed YAML; ``key`` names the place in error messages.

    Raises:
        UserError: the first thing that is wrong with ``content``.
    """
    content = {} if content is None else content
    # Through JSON, strict types accept a list for a tuple and a mapping for a nested dataclass.
    # Infinity and nan, which JSON lacks, become texts, so that no number may be one.
    try:
        plain = json.loads(json.dumps(content, default=str), parse_constant=str)
    except TypeError:
        raise UserError(f"{key}: a list or a mapping stands for a key: write a name.") from None
    except ValueError:  # so many digits that Python refuses to write them
        raise UserError(f"{key} holds a number of thousands of digits: shorten it.") from None
    try:
        checker: TypeAdapter[T] = _adapter(cls)  # type: ignore[arg-type] # a class is hashable
        return checker.validate_json(json.dumps(plain), strict=True, extra="forbid")
    except ValidationError as error:
        raise UserError(_sentence(cls, content, key, error.errors(include_url=False))) from None


@functools.cache
def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    """What checks values for a dataclass: tens of milliseconds to make for one that nests."""
    return TypeAdapter(cls)


def _sentence(cls: type[Any], content: Any, key: str, errors: Sequence[Any]) -> str:
    """Word the error that explains the most: the key, its value, what is allowed."""
    unknown = [error for error in errors if error["type"] == "unexpected_keyword_argument"]
    error = (unknown or errors)[0]
    if not unknown:  # of the options of a field, the one that the check went into was meant
        same = [other for other in errors if other["loc"][:1] == error["loc"][:1]]
        error = max(same, key=lambda other: len(other["loc"]))
    hint: Any = cls
    value = content
    for depth, step in enumerate(error["loc"], 1):
        shown = short(str(step))
        last, inside = depth == len(error["loc"]), _inside(hint, value)
        if last and unknown and (name := RENAMED.get(f"{key}.{step}")):
            return f"{key}.{step} is now called {name}: rename it."
        if last and unknown:
            return f"{key}.{shown} is not a parameter{suggestion(shown, inside)}."
        if step not in inside:  # the name of an option, such as "constrained-int"
            continue
        hint = inside[step]
        key = f"{key}[{step}]" if isinstance(step, int) else f"{key}.{shown}"
        if last and error["type"] == "missing":
            return f"{key} is missing: add it ({describe(hint)})."
        value = value[step]
    if error["type"] == "value_error":  # by __post_init__
        return f"{key}: {error['ctx']['error']}"
    told = short(repr(value))
    if get_origin(hint) is Literal:
        choices = [str(choice) for choice in get_args(hint)]
        near = difflib.get_close_matches(short(str(value)), choices, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        return f"{key} is {told}: choose {_either(choices)}{guess}."
    if dataclasses.is_dataclass(hint):
        return f"{key} must be a mapping of keys to values, not {told}."
    return f"{key} is {told}: give {describe(hint)}."


def _inside(hint: Any, value: Any) -> dict[Any, Any]:
    """What a value may hold by its type ``hint``: the steps into it, and the type behind each."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _inside(get_args(hint)[0], value)
    if origin in (Union, types.UnionType):
        return {
            step: inner
            for option in get_args(hint)
            for step, inner in _inside(option, value).items()
        }
    if origin is tuple and isinstance(value, Sequence):
        return dict.fromkeys(range(len(value)), get_args(hint)[0])
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return dict.fromkeys(value, get_args(hint)[1])
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        hints = get_type_hints(hint, include_extras=True)
        return {field.name: hints[field.name] for field in dataclasses.fields(hint) if field.init}
    return {}


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
        text = describe(base)
        for constraint in constraints:
            if hasattr(constraint, "min_length"):
                least, most = constraint.min_length, getattr(constraint, "max_length", None)
                length = f"{least} to {most}" if most else f"{least} or more"
                text = text.replace("a list", f"a list of {length}", 1)
        return text + (f" {' and '.join(bounds)}" if bounds else "")
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(hint))
    if origin is Literal:
        return _either([str(choice) for choice in get_args(hint)])
    if origin is tuple:
        return f"a list, each {describe(get_args(hint)[0])}"
    if origin in (dict, Mapping):
        return f"a mapping, each {describe(get_args(hint)[1])}"
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
