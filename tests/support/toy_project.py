"""A real DVC project in a temporary folder whose stages take no time, for tests of experiments.

Its train stage makes up logits: the higher train.lr, the better they are, with noise from
train.seed. Its files, parameters and metrics have the form of the real pipeline's.
"""

import contextlib
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import psutil

from classifier.cli import main
from tests.support.workspace import Workspace, environment
from tools import ROOT

DVC_YAML = """\
stages:
  preprocess:
    cmd: python toy.py preprocess
    deps: [toy.py]
    params: [split.seed, split.folds, split.fold]
    outs: [data/prepared]
  train:
    cmd: python toy.py train
    deps: [toy.py, data/prepared]
    params: [train]
    outs: [models/model.npy]
    metrics: [{metrics/train.json: {cache: false}}]
    plots: [{metrics/history.csv: {cache: false}}]
  evaluate:
    cmd: python toy.py evaluate
    deps: [toy.py, data/prepared, models/model.npy]
    outs: [data/predictions, metrics/details.json]
    metrics: [{metrics/evaluate.json: {cache: false}}]
artifacts:
  model:
    path: models/model.npy
    type: model
"""

TOY = """\
import csv, json, os, sys, time
from pathlib import Path
import numpy as np
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())
split, train = params["split"], params["train"]
CLASSES = ["cat", "dog", "owl"]
SIZES = {"train": 30, "val": 150, "test": 400}


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def preprocess():
    folder = Path("data/prepared")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (name, size) in enumerate(SIZES.items()):
        shift = split["seed"] + (1000 * split["fold"] if name == "val" else 0)
        labels = np.random.default_rng([number, shift]).integers(0, 3, size)
        np.save(folder / f"{name}_labels.npy", labels)
        rows += [(f"{name}-{shift}-{i}", name, i, CLASSES[k]) for i, k in enumerate(labels)]
    with (folder / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "split", "row", "label"), *rows])
    write(folder / "meta.json", json.dumps({"classes": CLASSES, "counts": SIZES}))


def tell(**facts):
    if "STAGE_PROGRESS" in os.environ:
        with open(os.environ["STAGE_PROGRESS"], "a") as file:
            file.write(json.dumps(facts) + "\\n")


def do_train():
    tell(stage="train")
    if train["lr"] > 1000:
        tell(error="the loss is not a number.")
        sys.exit("error: the loss is not a number.")
    lines = ["epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr"]
    quality = min(1.0, train["lr"])
    for epoch in range(1, train["epochs"] + 1):
        value = quality * epoch / train["epochs"]
        lines.append(f"{epoch},1,0,{1 - value},{value},0.1")
        write("metrics/history.csv", "\\n".join(lines) + "\\n")
        tell(epoch=epoch, val_loss=1 - value, val_accuracy=value)
        time.sleep(float(os.environ.get("TOY_EPOCH_SECONDS", 0)))
    Path("models").mkdir(exist_ok=True)
    np.save("models/model.npy", [quality, train["seed"]])
    best = {"val_accuracy": quality, "val_loss": 1 - quality, "best_epoch": train["epochs"]}
    write("metrics/train.json", json.dumps(best))


def evaluate():
    quality, seed = np.load("models/model.npy")
    folder = Path("data/predictions")
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("val", "test")):
        labels = np.load(f"data/prepared/{name}_labels.npy")
        noise = np.random.default_rng([number, int(seed)]).normal(size=(len(labels), 3))
        logits = 4 * quality * np.eye(3)[labels] + 1.5 * noise
        np.save(folder / f"{name}_logits.npy", logits.astype(np.float32))
    accuracy = float((logits.argmax(1) == labels).mean())
    write("metrics/evaluate.json", json.dumps({"test_accuracy": accuracy}))
    val = {"aurc": {"value": 1 - quality}}
    write("metrics/details.json", json.dumps({"temperature": 2.0, "val": val}))


{"preprocess": preprocess, "train": do_train, "evaluate": evaluate}[sys.argv[1]]()
"""


@dataclass(frozen=True)
class Toy(Workspace):
    """The made-up project."""

    def classifier(self, *arguments: str) -> str:
        """What `python -m classifier …` prints, called in this process: importing torch is slow."""
        status, out, err = self._call(*arguments)
        assert status == 0, out + err
        return out

    def refused(self, *arguments: str) -> str:
        """The one sentence with which `python -m classifier …` refuses."""
        status, out, err = self._call(*arguments)
        assert status == 1, out + err
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        return lines[0].removeprefix("error: ")

    def _call(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.path), redirect_stdout(out), redirect_stderr(err):
            status = main([*arguments])
        return status, out.getvalue(), err.getvalue()

    def start(self, *arguments: str, seconds: float) -> "subprocess.Popen[str]":
        """Start `python -m classifier …` with epochs that take so long."""
        extra = {"PYTHONPATH": str(ROOT), "TOY_EPOCH_SECONDS": str(seconds)}
        return subprocess.Popen(
            [sys.executable, "-m", "classifier", *arguments],
            cwd=self.path,
            env=environment() | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def nothing_goes_on(self, experiment: str) -> None:
        """Check that no process of an experiment is left, and no temporary folder of any."""
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if experiment in (process.info["cmdline"] or ()):
                assert not Path(process.info["cwd"] or "/").is_relative_to(self.path)
        assert not list((self.path / ".dvc/tmp/exps/standalone").glob("tmp*"))

    def experiment(self, name: str, *changes: str) -> None:
        """`dvc exp run` in the workspace."""
        flags = [part for change in changes for part in ("-S", change)]
        self.dvc("exp", "run", "--quiet", "-n", name, *flags)


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait until a condition holds; fail when it takes longer."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def create(folder: Path) -> Toy:
    """Make the project, run it once and commit the result on the branch `main`."""
    toy = Toy(folder)
    folder.mkdir(parents=True)
    toy.run("git", "init", "--quiet", "--initial-branch=main")
    toy.dvc("init", "--quiet")
    for name in (".dvc/config", ".gitignore", ".dvcignore", "params.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / "dvc.yaml").write_text(DVC_YAML, encoding="utf-8")
    (folder / "toy.py").write_text(TOY, encoding="utf-8")
    toy.set(train__lr=0.5, train__seed=0, train__epochs=2)
    toy.dvc("repro", "--quiet")
    toy.commit("Start")
    return toy


def copy(original: Toy, folder: Path) -> Toy:
    """A copy to change."""
    shutil.copytree(original.path, folder, symlinks=True)
    return Toy(folder)
