"""`recipe`: run a named parameter overlay as an experiment."""

import argparse
import shlex
import shutil
from pathlib import Path

from tabulate import tabulate

from classifier.core.errors import UserError
from classifier.experiments.dvc_commands import dvc, experiment, wait_for_none
from classifier.experiments.overrides import (
    add_changes,
    check,
    combinations,
    flags,
    parse_overrides,
)
from classifier.experiments.recipes import load_recipe, recipe_names
from classifier.experiments.revisions import experiment_exists


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `recipe`."""
    parser.add_argument("name", nargs="?", help="a file in recipes/, without .yaml")
    add_changes(parser, "change the recipe for this run; with --queue also key=1,2,3")
    parser.add_argument("-l", "--list", action="store_true", help="describe every recipe")
    parser.add_argument("-n", "--experiment", metavar="NAME", help="default: the recipe's name")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--temp", action="store_true", help="run in a temporary folder")
    where.add_argument("--queue", action="store_true", help="queue it for dvc queue start")
    where.add_argument("--check", action="store_true", help="check it and print the dvc command")


def run(args: argparse.Namespace) -> int:
    """Check a recipe against the stages' own parameters, then hand it to `dvc exp run`."""
    if args.list:
        return _list()
    if args.name is None:
        raise UserError("name a recipe, or see them with --list.")
    wait_for_none(args.experiment or args.name, Path())  # before params.yaml is read
    recipe = load_recipe(args.name)
    changes = recipe.changes | parse_overrides(args.changes, sweeps=args.queue)
    for combination in combinations(changes):
        check(combination)
    name = args.experiment or recipe.name
    options = flags(changes)
    if args.check:
        print(f"dvc {shlex.join(['exp', 'run', '-n', name, *options])}")
        return 0
    if experiment_exists(name, Path()):
        raise UserError(
            f"there is an experiment {name!r} already: give this run a name with -n, or run "
            f"dvc exp remove {name}."
        )
    if args.queue:
        return dvc("exp", "run", "-n", name, *options, "--queue").returncode
    return experiment(name, *options, *["--temp"] * args.temp)


def _list() -> int:
    recipes = [load_recipe(name) for name in recipe_names()]
    if not recipes:
        raise UserError("recipes/ holds no recipe: run from the project's top folder.")
    left = shutil.get_terminal_size((80, 24)).columns - max(len(one.name) for one in recipes) - 2
    rows = [(recipe.name, recipe.description) for recipe in recipes]
    print(tabulate(rows, tablefmt="plain", maxcolwidths=[None, max(left, 40)]))
    return 0
