"""Recipes: named, partial params.yaml files in recipes/, each run as one DVC experiment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError, suggestion
from classifier.core.params import flatten, read

FOLDER = Path("recipes")


@dataclass(frozen=True)
class Recipe:
    """``changes`` are values by full key, say {"train.lr": 0.1}."""

    name: str
    description: str
    changes: dict[str, Any]


def load_recipe(name: str, folder: Path = FOLDER) -> Recipe:
    """Read recipes/NAME.yaml; its keys are not yet checked against the stages' own parameters.

    Raises:
        UserError: there is no such recipe, or it lacks a description or any change.
    """
    if name not in (known := recipe_names(folder)):
        raise UserError(f"there is no recipe {name!r} in {folder}/{suggestion(name, known)}.")
    path = folder / f"{name}.yaml"
    content = read(path)
    description = content.pop("description", None)
    if not isinstance(description, str) or not description.strip():
        raise UserError(f"{path} has no description: say in one sentence what it is for.")
    for section, values in content.items():
        if not isinstance(values, dict):
            raise UserError(f"{path}: {section} must be a mapping of keys to values.")
    if not (changes := flatten(content)):
        raise UserError(f"{path} changes nothing: give it a section of params.yaml.")
    return Recipe(name, " ".join(description.split()), changes)


def recipe_names(folder: Path = FOLDER) -> list[str]:
    """The recipes that there are, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))
