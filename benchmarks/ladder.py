"""What each step of the CIFAR-10 ladder buys: four recipes, run as experiments, side by side.

    python -m benchmarks.ladder run [-S key=value …]    run what is missing, keep it in ladder.json
    python -m benchmarks.ladder                         write docs/ladder.md's table and image

Images of your own: run -S download.source=folder -S download.path=PATH. For a smaller budget:
run -S train.epochs=5. The experiments stay in DVC: dvc exp show, dvc plots diff.
"""

import argparse
import os
import platform
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from classifier.core.errors import UserError
from classifier.core.files import read_json, replacing, write_json
from classifier.experiments.dvc_commands import dvc
from classifier.experiments.overrides import add_changes, check, flags, parse_overrides
from classifier.experiments.recipes import load_recipe
from classifier.experiments.revisions import experiment_exists, resolve
from classifier.report.figures.style import SERIES, new_figure, save

STEPS = ("ladder-1-baseline", "ladder-2-batchnorm", "ladder-3-dropout", "ladder-4-augment")
RESULTS = Path("benchmarks/ladder.json")
PAGE, IMAGE = Path("docs/ladder.md"), Path("docs/ladder.png")
START, END = "<!-- table: written by python -m benchmarks.ladder -->", "<!-- end of table -->"


def run(changes: dict[str, Any]) -> None:
    """Run the recipes that are not yet experiments, and collect what they measured."""
    for name in STEPS:
        settings = load_recipe(name).changes | changes
        check(settings)
        if not experiment_exists(name, Path()):
            print(f"{name} …", flush=True)
            if dvc("exp", "run", "--temp", "-n", name, *flags(settings)).returncode:
                raise UserError(f"{name} failed: mend what DVC says above.")
    steps = {name: _measured(name) for name in STEPS}
    first = resolve(STEPS[0])
    write_json(
        RESULTS,
        {
            "machine": {"cores": _cores(), "processor": _processor()},
            "epochs": first.params["train.epochs"],
            "images": first.json("metrics/details.json")["images"],
            "source": first.params["download.source"],
            "steps": steps,
        },
    )


def _measured(name: str) -> dict[str, Any]:
    revision = resolve(name)
    details, train = revision.json("metrics/details.json"), revision.json("metrics/train.json")
    with revision.open("metrics/history.csv") as file:
        history = pd.read_csv(file)
    figures = {
        split: [details[split]["accuracy"][key] for key in ("value", "low", "high")]
        for split in ("train", "val", "test")
    }
    columns = ("train_accuracy", "val_accuracy", "train_loss", "val_loss")
    return {
        "accuracy": figures,
        "test_loss": details["test"]["loss"]["value"],
        "best_epoch": train["best_epoch"],
        "parameters": train["parameters"],
        "history": {key: history[key].tolist() for key in columns},
    }


def write_page(results: dict[str, Any], page: Path, image: Path) -> None:
    """Put the table between the page's two marks, and draw the image beside it."""
    rows = [
        "| step | train | validation | test | test loss | best epoch |",
        "|---|---|---|---|---|---|",
    ]
    for name, step in results["steps"].items():
        cells = [f"{step['accuracy'][split][0]:.4f}" for split in ("train", "val")]
        value, low, high = step["accuracy"]["test"]
        cells += [f"{value:.4f} ({low:.4f} to {high:.4f})", f"{step['test_loss']:.4f}"]
        rows.append(f"| `{name}` | {' | '.join(cells)} | {step['best_epoch']} |")
    images, machine = results["images"], results["machine"]
    said = (
        f"{results['epochs']} epochs, source `{results['source']}`, {images['val']:,} validation "
        f"and {images['test']:,} test images; accuracy of the best epoch's weights, train on a "
        f"sample of {images['train']:,} images as they are. {machine['cores']} cores, "
        f"{machine['processor']}."
    )
    text = page.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise UserError(f"{page} has lost the marks of its table: put back {START} and {END}.")
    before, after = text.split(START)[0], text.split(END)[1]
    middle = "\n".join(
        [START, "", *rows, "", said, "", f"![Accuracy by epoch]({image.name})", "", END]
    )
    with replacing(page) as temporary:
        temporary.write_text(before + middle + after, encoding="utf-8")
    _draw(results["steps"], image)


def _draw(steps: dict[str, Any], image: Path) -> None:
    figure = new_figure(width=8.4, height=3.8)
    panels = figure.subplots(1, 2, sharey=True)
    for color, (name, step) in zip(SERIES, steps.items(), strict=False):
        for panel, split in zip(panels, ("train", "val"), strict=True):
            values = step["history"][f"{split}_accuracy"]
            panel.plot(range(1, len(values) + 1), values, color=color, label=name)
    for panel, title in zip(panels, ("While training", "Validation"), strict=True):
        panel.set(title=title, xlabel="epoch")
    panels[0].set_ylabel("accuracy")
    panels[1].legend(loc="lower right")
    save(figure, image)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ladder")
    parser.add_argument("action", nargs="?", choices=("run", "page"), default="page")
    add_changes(parser, "change a parameter in every run")
    args = parser.parse_args()
    try:
        if args.action == "run":
            run(parse_overrides(args.changes))
        if not RESULTS.is_file():
            raise UserError(f"{RESULTS} is missing: python -m benchmarks.ladder run makes it.")
        write_page(read_json(RESULTS), PAGE, IMAGE)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
