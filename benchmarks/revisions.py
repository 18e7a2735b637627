"""The same settings trained with the code of two revisions, side by side.

    python -m benchmarks.revisions BEFORE AFTER [--seeds 0,1,2] [--recipe NAME] [key=value …]

The changes are those of `-S`, for instance download.source=folder download.path=PATH. A recipe is
taken as each revision has it, since keys may have other names there. Each revision runs in a clone:
download, split and preprocess once, then train and evaluate for every seed of ``train.seed``. It
shows what a correction does to the scores, and what it leaves as it was.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.overhead import change, seconds
from classifier.core.params import flatten, read

SCORES = ("accuracy", "balanced_accuracy", "f1_macro")


def recipe_changes(path: Path) -> list[str]:
    """The overrides that a recipe is made of."""
    content = read(path)
    del content["description"]
    return [f"++{key}={json.dumps(value)}" for key, value in flatten(content).items()]


def scores(
    folder: Path, revision: str, recipe: str | None, changes: list[str], seeds: list[int]
) -> dict[str, list[float]]:
    """Each score of ``SCORES`` with one value a seed, of a clone in ``folder``."""
    subprocess.run(["git", "clone", "-q", ".", str(folder)], check=True)
    subprocess.run(["git", "checkout", "-q", revision], cwd=folder, check=True)
    if recipe:
        change(folder, recipe_changes(folder / f"recipes/{recipe}.yaml"))
    change(folder, changes)
    for stage in ("download", "split", "preprocess"):
        seconds(folder, sys.executable, "-m", f"stages.{stage}")
    found: dict[str, list[float]] = {name: [] for name in SCORES}
    for seed in seeds:
        change(folder, [f"train.seed={seed}"])
        for stage in ("train", "evaluate"):
            seconds(folder, sys.executable, "-m", f"stages.{stage}")
        result = json.loads((folder / "metrics/details.json").read_text(encoding="utf-8"))["test"]
        for name in SCORES:
            found[name].append(result[name]["value"])
        print(f"{revision} seed {seed}: {result['accuracy']['value']:.4f}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.revisions")
    parser.add_argument("revisions", nargs=2)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--recipe")
    parser.add_argument("changes", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    seeds = [int(seed) for seed in args.seeds.split(",")]
    print(f"{machine()}\n")
    print("| revision | " + " | ".join(SCORES) + " |")
    print("|---" * (1 + len(SCORES)) + "|")
    with tempfile.TemporaryDirectory() as temporary:
        for number, revision in enumerate(args.revisions):
            found = scores(Path(temporary, str(number)), revision, args.recipe, args.changes, seeds)
            cells = (
                f"{statistics.mean(values):.4f} ({', '.join(f'{value:.4f}' for value in values)})"
                for values in found.values()
            )
            print(f"| {revision} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
