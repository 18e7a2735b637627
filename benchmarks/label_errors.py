"""Labels made wrong on purpose: how many of them review puts first, and what correcting them gains.

    python -m benchmarks.label_errors FOLDER WORK [--noise random|confused] [-k 2] [-S key=value …]

FOLDER has train/CLASS/*.jpg and test/CLASS/*.jpg with the images of CIFAR-10. 5 % of train's labels
become another class's, drawn at random; with `confused` that which the model of the random run
in WORK confuses most with the right one. In a clone of the committed project below WORK, the recipe
cifar10-fast is trained on them, cross-validated, and trained again after the 2,500 labels that
review puts first were given back their own, in data/corrections.csv. What is there is not made
again. With cleanlab on the path (`pip install cleanlab`), its ranking of the same probabilities is
measured beside it.
"""

import argparse
import csv
import io
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.machine import machine
from benchmarks.overhead import clone
from classifier.core.softmax import softmax
from classifier.core.types import BoolArray, Float64Array, Int64Array
from classifier.evaluation.label_errors import find_label_errors, unlikely_labels
from classifier.experiments.overrides import flags
from classifier.experiments.recipes import load_recipe
from classifier.models.temperature import fit_temperature
from classifier.splits.corrections import Correction

FRACTION = 0.05  # of the labels of train
LOOKED_AT = (1000, 2500)
NAME = "cv"


def noisy_table(
    folder: Path, confused: dict[str, str] | None, seed: int = 0
) -> list[tuple[str, str, str]]:
    """Rows of image, label and split; the right label of an image is the folder that it is in."""
    classes = sorted(path.name for path in (folder / "train").iterdir())
    rows = [
        (f"{split}/{name}/{path.name}", name, split)
        for split in ("train", "test")
        for name in classes
        for path in sorted((folder / split / name).iterdir())
    ]
    random = np.random.default_rng(seed)
    train = sum(split == "train" for _, _, split in rows)
    for row in random.choice(train, round(train * FRACTION), replace=False).tolist():
        image, label, split = rows[row]
        others = [name for name in classes if name != label]
        wrong = confused[label] if confused else others[int(random.integers(len(others)))]
        rows[row] = (image, wrong, split)
    return rows


def most_confused(project: Path) -> dict[str, str]:
    """For each class the one that its test images are most often taken for."""
    table = pd.read_csv(project / "metrics/plots/confusion.csv", dtype=str)
    wrong = table[table["actual"] != table["predicted"]]
    counts = wrong.groupby(["actual", "predicted"]).size().reset_index(name="count")
    first = counts.sort_values("count").groupby("actual")["predicted"].last()
    return {str(name): str(other) for name, other in first.items()}


def pack(path: Path, folder: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """A tar of the images and of the table that labels them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("image", "label", "split"), *rows])
    with tarfile.open(path, "w") as archive:
        for name, data in [
            ("train.csv", text.getvalue().encode()),
            *((image, (folder / image).read_bytes()) for image, _, _ in rows),
        ]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def run(project: Path, *command: str) -> str:
    """What a command prints in the project; it must succeed."""
    done = subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def found(order: Int64Array, wrong: BoolArray) -> list[str]:
    """Precision and recall of what is looked at first."""
    hits = [int(wrong[order[:count]].sum()) for count in LOOKED_AT]
    cells = []
    for count, hit in zip(LOOKED_AT, hits, strict=True):
        cells += [f"{hit / min(count, max(1, len(order))):.3f}", f"{hit / wrong.sum():.3f}"]
    return [*cells, f"{len(order):,}"]


def cleanlab_orders(labels: Int64Array, probabilities: Float64Array) -> dict[str, Int64Array]:
    """Its suggestions, most suspicious first, by its default and by its other two rankings."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return {}
    return {
        f"cleanlab, {ranking}": np.asarray(
            find_label_issues(labels, probabilities, return_indices_ranked_by=ranking)
        )
        for ranking in ("self_confidence", "normalized_margin")
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_errors")
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--noise", choices=("random", "confused"), default="random")
    parser.add_argument("-k", type=int, default=2)
    parser.add_argument("-S", dest="changes", action="append", default=[], metavar="key=value")
    args = parser.parse_args()
    work = args.work.resolve()
    images, project = work / f"{args.noise}.tar", work / args.noise
    confused = most_confused(work / "random") if args.noise == "confused" else None
    rows = noisy_table(args.folder, confused)
    if not images.exists():
        work.mkdir(parents=True, exist_ok=True)
        pack(images, args.folder, rows)
    if not project.exists():
        settings = load_recipe("cifar10-fast").changes
        settings |= {"download.source": "archive", "download.path": str(images)}
        clone(project, [text for text in flags(settings) if text != "-S"] + args.changes)
        run(project, "git", "commit", "-qam", "The recipe on labels of which some are wrong")
    if not run(project, "git", "tag", "--list", "noisy"):
        run(project, "dvc", "repro", "evaluate")
        run(project, "git", "add", "-A")
        run(project, "git", "commit", "-qm", "noisy")
        run(project, "git", "tag", "noisy")
    print(run(project, sys.executable, "-m", "classifier", "folds", "-k", str(args.k), "-n", NAME))

    folds = project / "runs" / NAME
    ids = pd.read_csv(folds / "out_of_fold.csv", dtype=str)["id"].to_numpy()
    logits = np.load(folds / "out_of_fold_logits.npy")
    given = {image: label for image, label, _ in rows}
    classes = sorted(set(given.values()))
    labels = np.array([classes.index(given[name]) for name in ids])
    true = np.array([classes.index(name.split("/")[1]) for name in ids])
    wrong = labels != true
    temperature = fit_temperature(logits, labels)
    errors = unlikely_labels(logits, labels, temperature)
    orders = {
        "review": errors.rows,
        "the report's confident joint": find_label_errors(logits, labels, temperature).rows,
    }
    orders |= cleanlab_orders(labels, softmax(logits.astype(np.float64)))
    print(f"{machine()}; {wrong.sum():,} of {len(ids):,} labels are wrong; T = {temperature}\n")
    heads = [f"{what} at {count:,}" for count in LOOKED_AT for what in ("precision", "recall")]
    print(f"| | {' | '.join(heads)} | suggestions |\n|{'---|' * (len(heads) + 2)}")
    for name, order in orders.items():
        print(f"| {name} | {' | '.join(found(order, wrong))} |")

    first = errors.rows[: LOOKED_AT[-1]]
    decided = [
        Correction(ids[row], "relabel", classes[true[row]], "benchmark", "2026-03-31")
        if wrong[row]
        else Correction(ids[row], "keep", "", "benchmark", "2026-03-31")
        for row in first.tolist()
    ]
    with (project / "data/corrections.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([Correction._fields, *sorted(decided)])
    run(project, "dvc", "repro", "evaluate")
    print(f"\n{wrong[first].sum():,} labels given back:\n")
    print(run(project, sys.executable, "-m", "classifier", "compare", "noisy", "--top", "0"))


if __name__ == "__main__":
    main()
