"""Train the network, and keep its best epoch with all that is needed to use it."""

from pathlib import Path

import numpy as np

from classifier.arrays import write_arrays
from classifier.distributed import Ranks, launch
from classifier.errors import UserError
from classifier.failures import explained
from classifier.files import write_json
from classifier.history import LiveFiles
from classifier.memory import keep_large_buffers
from classifier.params import load
from classifier.prepare import PreparedData
from classifier.process import run_dir, stage

PREPARED = Path("data/prepared")
MODEL = Path("models/model.safetensors")


def main() -> None:
    """Run `train` in as many processes as params.yaml asks for."""
    from classifier.train_params import TrainParams

    launch(load("train", TrainParams).processes, train)


def train() -> None:
    """Write the model, its summary, and the files that show the run, from one process of it."""
    keep_large_buffers()
    from classifier import modelfile, training
    from classifier.augment import AugmentParams
    from classifier.augment.preview import preview
    from classifier.board import Board
    from classifier.checkpoint import Checkpoints
    from classifier.models import ModelParams
    from classifier.run_key import code_of, run_key
    from classifier.train_params import TrainParams

    params = load("train", TrainParams)
    model, augment = load("model", ModelParams), load("augment", AugmentParams)
    if Path(str(model.pretrained)).resolve() == MODEL.resolve():
        raise UserError(
            f"model.pretrained: {MODEL} is an output of train, which DVC removes before train runs:"
            " copy it with `python -m classifier keep` and take the path that this prints"
        )
    data = PreparedData.open(PREPARED)
    checkpoints: Checkpoints | None = None  # the other ranks keep and write nothing
    board: Board | None = None
    if Ranks().first:
        key = run_key(params, model, augment, PREPARED, code_of("train", Path("dvc.yaml")))
        checkpoints = Checkpoints(run_dir() / "checkpoints" / key, params.checkpoint_every)
        board = Board(run_dir() / "tensorboard" / key) if params.tensorboard else None
    live = LiveFiles(Path("metrics/history.csv"), Path("metrics/train.json"), Path("metrics/live"))
    with explained():
        trained = training.train(
            params, model, augment, data, checkpoints=checkpoints, on_epoch=live, board=board
        )
        if checkpoints:
            modelfile.save(MODEL, trained.network, trained.spec())
            write_json("models/summary.json", trained.summary)
            rows = np.linspace(0, len(data.labels("train")) - 1, 8).astype(int)
            examples = data.images("train")[rows]
            shown = preview(examples, augment, fill=data.meta["mean"])
            write_arrays("models/augmentation.npz", shown)
            live.finish(trained.history, trained.metrics())
            checkpoints.remove()
    if board:
        board.close()


if __name__ == "__main__":
    stage("train", main)
