"""Train the network, and keep its best epoch with all that is needed to use it."""

import dataclasses
import json
from pathlib import Path

import yaml

from classifier.device import keep_large_buffers
from classifier.distributed import Ranks, launch
from classifier.failures import explained
from classifier.files import write_json
from classifier.history import LiveFiles
from classifier.params import load
from classifier.prepare import PreparedData
from classifier.process import run_dir, stage
from classifier.torch_pair import matching_pair

PREPARED = Path("data/prepared")


def main() -> None:
    """Run `train` in as many processes as params.yaml asks for."""
    with matching_pair():
        from classifier.training import TrainParams
    launch(load("train", TrainParams).processes, train)


def train() -> None:
    """Write the model, its summary, and the files that show the run, from one process of it."""
    keep_large_buffers()
    import torch

    from classifier import modelfile, training
    from classifier.augment import AugmentParams
    from classifier.board import Board
    from classifier.checkpoint import Checkpoints, key_of
    from classifier.models import ModelParams

    params = load("train", training.TrainParams)
    model, augment = load("model", ModelParams), load("augment", AugmentParams)
    data = PreparedData.open(PREPARED)
    # Whatever decides the result decides where the state of an unfinished run is looked for.
    sections = [json.dumps(dataclasses.asdict(part)) for part in (params, model, augment)]
    code = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["deps"]
    files = [Path(name) for name in code if name.endswith(".py")]
    files += [PREPARED / "meta.json", *sorted(PREPARED.glob("train*")), *PREPARED.glob("val*")]
    key = key_of([*sections, torch.__version__], files)
    checkpoints = Checkpoints(run_dir() / "checkpoints" / key, params.checkpoint_every)
    first = Ranks().first
    live = LiveFiles(Path("metrics/history.csv"), Path("metrics/train.json"), Path("metrics/live"))
    board = Board(run_dir() / "tensorboard" / key) if params.tensorboard and first else None
    with explained():
        trained = training.train(
            params, model, augment, data, checkpoints=checkpoints, on_epoch=live, board=board
        )
        if first:
            spec = trained.spec(model, data.meta)
            modelfile.save("models/model.safetensors", trained.network, spec)
            write_json("models/summary.json", trained.summary)
            live.finish(trained.history, trained.metrics())
            checkpoints.remove()


if __name__ == "__main__":
    stage("train", main)
