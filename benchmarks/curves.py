"""Time to accuracy on CPU cores: this project's recipes, and other people's ways beside them.

    python -m benchmarks.curves recipe FOLDER NAME[,key=value…] [SEED …]   train, score, keep
    python -m benchmarks.curves ablation FOLDER NAME,key=value…  [SEED …]   for the second table
    python -m benchmarks.curves add LABEL FILE.csv        a peer's lines of "seconds,accuracy"
    python -m benchmarks.curves                           write curves.md's table and curves.png

FOLDER has train/CLASS/* and test/CLASS/*. A recipe's time is that of the whole stage `train`, from
prepared data; its test accuracy is what `evaluate` then finds. What was measured is kept in
curves.json. Peers: see benchmarks/peers.py.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from matplotlib import rc_context

from benchmarks.machine import machine
from benchmarks.overhead import change, clone, seconds
from classifier.core.files import read_json, write_json
from classifier.experiments.overrides import flags, parse_overrides
from classifier.experiments.recipes import load_recipe
from classifier.report.figures.style import SERIES, STYLE, new_figure, percent_axis, save

RESULTS, PAGE = Path("benchmarks/curves.json"), Path("benchmarks/curves.md")
IMAGE = Path("docs/curves.png")
LOOK, STOPPED = 0.1, 2.0  # seconds between two looks at a run, and what only a stopped one takes
KINDS = ("recipes", "ablations", "peers")
TICKS = {"15 s": 15, "1 min": 60, "5 min": 300, "30 min": 1800, "3 h": 10800, "1 day": 86400}
START, END = "<!-- table: written by python -m benchmarks.curves -->", "<!-- end of table -->"


def run(kind: str, folder: Path, text: str, seeds: list[int]) -> None:
    """Train with a recipe, and changes to it, once for every seed."""
    name, *more = text.split(",")
    changes = load_recipe(name).changes | parse_overrides(more)
    changes |= {"download.source": "folder", "download.path": str(folder)}
    changes |= {"evaluate.train_images": 0, "evaluate.embedding_images": 0}  # not wanted here
    with tempfile.TemporaryDirectory() as temporary:
        place = clone(Path(temporary, "project"), flags(changes)[1::2])
        for stage in ("download", "split", "preprocess"):
            seconds(place, sys.executable, "-m", f"stages.{stage}")
        for seed in seeds:
            change(place, [f"train.seed={seed}"])
            taken, epochs = _train(place)
            seconds(place, sys.executable, "-m", "stages.evaluate")
            found = read_json(place / "metrics/evaluate.json")
            history = (place / "metrics/history.csv").read_text(encoding="utf-8").splitlines()
            column = history[0].split(",").index("val_accuracy")
            validation = [float(row.split(",")[column]) for row in history[1:]]
            keys = ("test_accuracy", "precision_macro", "recall_macro", "f1_macro")
            result = {"seed": seed, "seconds": round(taken, 1), "epochs": epochs}
            result |= {"validation": validation} | {key: found[key] for key in keys}
            print(text, {key: result[key] for key in ("seed", "seconds", *keys)}, flush=True)
            _keep(f"{kind}s", text, result)


def _train(place: Path) -> tuple[float, list[float]]:
    """Seconds of the stage, and those after which the history had each of its epochs.

    Those in which `benchmarks.turns` had stopped it, and this process with it, do not count.
    """
    history = place / "metrics/history.csv"
    history.unlink(missing_ok=True)
    epochs: list[float] = []
    taken, last = 0.0, time.perf_counter()
    command = [sys.executable, "-m", "stages.train"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(LOOK)
            passed = time.perf_counter() - last
            taken, last = taken + (passed if passed < STOPPED else LOOK), last + passed
            if history.exists():
                rows = history.read_text(encoding="utf-8").count("\n") - 1
                epochs += [round(taken, 1)] * (rows - len(epochs))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return taken, epochs


def _keep(kind: str, name: str, value: Any) -> None:
    results = read_json(RESULTS) if RESULTS.exists() else {kind: {} for kind in KINDS}
    results["machine"] = machine()
    if kind == "peers":
        results[kind][name] = value
    else:
        runs = [run for run in results[kind].get(name, []) if run["seed"] != value["seed"]]
        results[kind][name] = sorted([*runs, value], key=lambda run: run["seed"])
    write_json(RESULTS, results)


def write_page(results: dict[str, Any]) -> None:
    """Put the table between the page's two marks, and draw the image."""
    rows = ["| | runs | seconds | test accuracy |", "|---|---|---|---|"]
    for name, runs in results["recipes"].items():
        found = [run["test_accuracy"] for run in runs]
        spread = f" ({min(found):.4f} to {max(found):.4f})" if len(runs) > 1 else ""
        taken = statistics.mean(run["seconds"] for run in runs)
        accuracy = f"{statistics.mean(found):.4f}{spread}"
        rows.append(f"| `{name.replace(',', ', ')}` | {len(runs)} | {taken:,.0f} | {accuracy} |")
    for name, points in results["peers"].items():
        taken, accuracy = points[-1]
        rows.append(f"| {name} | 1 | {taken:,.0f} | {accuracy:.4f} |")
    if results["ablations"]:
        rows += ["", "| change | runs | seconds | test accuracy | gain of what is changed |"]
        rows.append("|---|---|---|---|---|")
    for name, runs in results["ablations"].items():
        base, *changes = name.split(",")
        whole = {run["seed"]: run["test_accuracy"] for run in results["recipes"][base]}
        gains = [whole[run["seed"]] - run["test_accuracy"] for run in runs]
        taken = statistics.mean(run["seconds"] for run in runs)
        accuracy = statistics.mean(run["test_accuracy"] for run in runs)
        gain = f"{statistics.mean(gains):+.4f} ({min(gains):+.4f} to {max(gains):+.4f})"
        told = f"`{base}`, `{', '.join(changes)}`"
        rows.append(f"| {told} | {len(runs)} | {taken:,.0f} | {accuracy:.4f} | {gain} |")
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    middle = "\n".join([START, "", *rows, "", f"{results['machine']}.", "", END])
    PAGE.write_text(before + middle + after, encoding="utf-8")
    _draw(results)


def _draw(results: dict[str, Any]) -> None:
    with rc_context(STYLE):
        figure = new_figure(width=8.4, height=4.2)
        axes = figure.subplots()
        ends = sorted(
            tuple(statistics.mean(run[key] for run in runs) for key in ("seconds", "test_accuracy"))
            for runs in results["recipes"].values()
        )
        axes.plot(*zip(*ends, strict=True), "o-", color=SERIES[0], label="this project's recipes")
        for color, (name, points) in zip(SERIES[1:], results["peers"].items(), strict=False):
            known = {"fillstyle": "none"} if len(points) == 1 else {"markersize": 3.5}
            axes.plot(*zip(*points, strict=True), "o-", color=color, label=name, **known)
        axes.set(xscale="log", ylabel="test accuracy", ylim=(0.5, 0.95))
        axes.set_xlabel(f"training time on {results['machine']}")
        axes.set_title("CIFAR-10 (JPEG copy) on two CPU cores: accuracy after how much training")
        times = [x for line in axes.lines for x in line.get_xdata()]  # type: ignore[union-attr]
        first, last = min(times) / 1.2, max(times) * 1.2
        axes.set_xlim(first, last)
        ticks = {text: at for text, at in TICKS.items() if first <= at <= last}
        axes.set_xticks(list(ticks.values()), list(ticks))
        axes.minorticks_off()
        percent_axis(axes, "y")
        axes.legend(loc="lower right")
        save(figure, IMAGE)


def main() -> None:
    """The command line."""
    match sys.argv[1:]:
        case []:
            write_page(read_json(RESULTS))
        case ["recipe" | "ablation" as kind, folder, name, *seeds]:
            run(kind, Path(folder).resolve(), name, [int(seed) for seed in seeds or ["0"]])
        case ["add", label, file]:
            lines = Path(file).read_text(encoding="utf-8").split()
            _keep("peers", label, [[float(part) for part in line.split(",")] for line in lines])
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
