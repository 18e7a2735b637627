"""Train the network, and keep its best epoch with all that is needed to use it."""

from functools import partial
from pathlib import Path

import numpy as np

from classifier.core.arrays import write_arrays
from classifier.core.engine import on_ray
from classifier.core.errors import UserError
from classifier.core.files import write_json
from classifier.core.params import load
from classifier.core.process import run_dir, stage
from classifier.dataset.prepared import PreparedData
from classifier.models.buffers import keep_large_buffers
from classifier.training.distributed import Ranks
from classifier.training.launch import is_rank, launch
from classifier.training.run.failures import explained
from classifier.training.run.live_files import LiveFiles

PREPARED = Path("data/prepared")
MODEL = Path("models/model.safetensors")


def main() -> None:
    """Run `train` in as many processes as params.yaml asks for, or where the environment says."""
    from classifier.training.params import TrainParams
    from classifier.training.ray_train import place

    processes = load("train", TrainParams).processes
    if on_ray() and not is_rank():
        place(processes, "stages.train")
    else:
        launch(processes, "stages.train", train)


def train() -> None:
    """Write the model, its summary, and the files that show the run, from one process of it."""
    keep_large_buffers()
    from classifier.augment.augmenter import AugmentParams
    from classifier.augment.preview import preview
    from classifier.models import model_file
    from classifier.models.registry import ModelParams
    from classifier.training import loop
    from classifier.training.features import FeatureSession, check
    from classifier.training.params import TrainParams
    from classifier.training.probe import fit_head, train_head
    from classifier.training.run.checkpoint import Checkpoints
    from classifier.training.run.tensorboard import Board
    from classifier.training.run_key import code_of, run_key
    from classifier.training.session import Session, is_portable

    params = load("train", TrainParams)
    model, augment = load("model", ModelParams), load("augment", AugmentParams)
    if Path(str(model.pretrained)).resolve() == MODEL.resolve():
        raise UserError(
            f"model.pretrained: {MODEL} is an output of train, which DVC removes before train runs:"
            " copy it with `python -m classifier keep` and take the path that this prints"
        )
    check(params, model, augment)
    data = PreparedData.open(PREPARED)
    is_portable(params, model, data)  # before the ranks exchange anything, which computes
    checkpoints: Checkpoints | None = None  # the other ranks keep and write nothing
    board: Board | None = None
    code = code_of("train", Path("dvc.yaml"))
    key = run_key(params, model, augment, PREPARED, code, run_dir() / "hashes.json")
    if Ranks().first:
        checkpoints = Checkpoints(run_dir() / "checkpoints" / key, params.checkpoint_every)
        board = Board(run_dir() / "tensorboard" / key) if params.tensorboard else None
    live = LiveFiles(Path("metrics/history.csv"), Path("metrics/train.json"), Path("metrics/live"))
    with explained():
        features = run_dir() / "features"
        if model.trains_head_alone:
            if params.feature_views in (None, 1):
                augment = AugmentParams()
            trained = train_head(params, model, augment, data, features)
        else:
            fit = partial(fit_head, data=data, augment=augment, folder=features)
            of_features = partial(FeatureSession, folder=features)
            trained = loop.train(
                params,
                model,
                augment,
                data,
                session_of=of_features if params.feature_views else Session,
                start=fit if model.head == "logistic" else lambda session: None,
                checkpoints=checkpoints,
                on_epoch=live,
                board=board,
            )
        if checkpoints:
            model_file.save(MODEL, trained.network, trained.spec())
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
