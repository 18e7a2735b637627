"""What several ranks train is what one process trains, up to the order of sums."""

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing
from torch import distributed as dist

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.dataset.prepared import PreparedData
from classifier.models import model_file
from classifier.models.networks.vit import VitParams
from classifier.models.registry import ModelParams
from classifier.training.distributed import Ranks
from classifier.training.record import Row
from classifier.training.run.checkpoint import Checkpoints
from tests.support.prepared_digits import prepared_digits
from tests.support.training_runs import fit

# Sums in another order differ in the last bits, which training magnifies step by step: a plain
# learning rate and few steps keep them small. Weights, relative to the largest of their tensor.
TOLERANCE = 2e-4
PLAIN: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "schedule": "constant", "batch_size": 96}
VIT = ModelParams("vit", vit=VitParams(patch=2, width=32, depth=3, heads=2))
ALL = AugmentParams(
    horizontal_flip="alternate",
    shift=0.125,
    rotate=20,
    policy="trivial",
    noise=0.1,
    cutout=0.25,
    mixup=0.4,
    cutmix=1.0,
)
RUNS: dict[str, dict[str, Any]] = {
    "batch norm": {},
    "accumulated, averaged and clipped": {
        "accumulation_steps": 2,
        "ema_decay": 0.9,
        "gradient_clip_norm": 0.5,
        "class_weights": tuple([1.0, 2.0] * 5),
    },
    "unfrozen stage by stage": {
        "model": replace(VIT, pretrained="vit.safetensors", freeze="backbone", unfreeze_every=1),
        "epochs": 3,
    },
    "augmented and mixed": {"augment": ALL, "accumulation_steps": 2, "epochs": 3},
    "batch norm with an activation, of timm": {
        "model": ModelParams("timm/test_efficientnet", input_size=32),
        "lr": 0.01,
    },
    "muon": {"model": VIT, "optimizer": "muon", "lr": 0.002},
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    data = prepared_digits(tmp_path_factory.mktemp("prepared"), train=384, val=96)
    other = fit(data, **PLAIN, model=VIT, epochs=1)
    model_file.save(data.folder / "vit.safetensors", other.network, other.spec())
    return data


@pytest.fixture(scope="module")
def ranks(digits: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the weights that three ranks trained in each run."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(train_all, (3, digits.folder, folder, list(RUNS)), nprocs=3)
    return folder


def train_all(rank: int, size: int, prepared: Path, folder: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=size)
    assert Ranks().agreed({"the code": "a"}) == {"the code": "a"}
    with pytest.raises(UserError, match="another model: data/prepared differs between"):
        Ranks().agreed({"the code": "a", "data/prepared": "changed" if rank == 2 else "b"})
    for name in names:
        weights = trained(PreparedData.open(prepared), name)
        torch.save(weights, folder / f"{name} {rank}.pt")
    save_stopped_and_taken_up(PreparedData.open(prepared), folder, rank)
    dist.destroy_process_group()


def save_stopped_and_taken_up(data: PreparedData, folder: Path, rank: int) -> None:
    """Train as in the first run, but stop after the first epoch and go on."""
    checkpoints = Checkpoints(folder / "run", "1 epoch") if rank == 0 else None

    def stop(history: list[Row]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with contextlib.suppress(KeyboardInterrupt):
        fit(data, **PLAIN, checkpoints=checkpoints, on_epoch=stop)
    taken_up = fit(data, **PLAIN, checkpoints=checkpoints)
    torch.save(taken_up.network.state_dict(), folder / f"taken up {rank}.pt")


def trained(data: PreparedData, name: str) -> dict[str, Tensor]:
    with contextlib.chdir(data.folder):
        return fit(data, **(PLAIN | RUNS[name])).network.state_dict()


@pytest.mark.parametrize("name", RUNS)
def test_ranks_train_the_model_of_one_process(digits: PreparedData, ranks: Path, name: str) -> None:
    one = trained(digits, name)
    first, *others = (torch.load(ranks / f"{name} {rank}.pt") for rank in range(3))
    for key, expected in one.items():
        assert all(torch.equal(first[key], other[key]) for other in others), key
        largest = expected.abs().max().clamp(min=1e-3)
        worst = ((first[key] - expected).abs().max() / largest).item()
        assert worst < TOLERANCE, f"{key}: {worst:.1e}"


def test_ranks_that_take_a_run_up_end_in_the_same_bits(ranks: Path) -> None:
    straight, taken_up = (torch.load(ranks / f"{name} 0.pt") for name in ("batch norm", "taken up"))
    assert (ranks / "run/newest.state").exists()
    assert all(torch.equal(straight[key], taken_up[key]) for key in straight)
