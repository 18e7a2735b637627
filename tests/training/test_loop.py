"""The training loop: it learns with every optimizer and schedule, in pieces and in bfloat16."""

import dataclasses
import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.dataset.prepared import PreparedData
from classifier.models.forward import normalize
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams, build
from classifier.training.loop import train
from classifier.training.optimization.optimizers import build_optimizer
from classifier.training.optimization.schedules import Schedule, ScheduleName
from tests.support.prepared_digits import prepared_digits
from tests.support.training_runs import PARAMS, digest, fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("digits"), train=512, val=128)


def test_the_first_loss_is_that_of_a_guess(data: PreparedData) -> None:
    torch.manual_seed(0)
    network = build("cnn", {}, classes=10, channels=1, image_size=8)
    images = torch.from_numpy(np.array(data.images("train")))
    logits = network(normalize(images, data.meta["mean"], data.meta["std"]))
    loss = F.cross_entropy(logits, torch.from_numpy(data.labels("train"))).item()
    assert loss == pytest.approx(math.log(10), rel=0.02)


def test_the_network_learns_one_batch_by_heart(data: PreparedData) -> None:
    torch.manual_seed(0)
    network = build("cnn", {}, classes=10, channels=1, image_size=8)
    images = normalize(torch.from_numpy(data.images("train")[:32].copy()), [0.3], [0.4])
    labels = torch.from_numpy(data.labels("train")[:32])
    optimizer = build_optimizer(network, "adamw", lr=0.003)
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01


def test_it_learns(data: PreparedData) -> None:
    trained = fit(data, epochs=10)
    assert trained.metrics()["val_accuracy"] > 0.9
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"] / 2
    assert [row["epoch"] for row in trained.history] == list(range(1, 11))


def test_pieces_of_a_batch_add_up(data: PreparedData) -> None:
    """Without batch norm, which sees the pieces, they are the whole batch but for rounding."""
    model = ModelParams("cnn", cnn=CnnParams((16, 32), dense_units=32, batch_norm=False))
    settings = {"optimizer": "sgd", "class_weights": "balanced", "gradient_clip_norm": 1.0}
    augment = AugmentParams(shift=0.125, mixup=0.2)
    whole, pieces = (
        train(
            dataclasses.replace(PARAMS, accumulation_steps=count, label_smoothing=0.1, **settings),
            model,
            augment,
            data,
            say=lambda line: None,
        )
        for count in (1, 4)
    )
    for ours, theirs in zip(whole.history, pieces.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert np.allclose(whole.val_logits, pieces.val_logits, atol=1e-4)


OPTIMIZERS = {"adam": 0.01, "adamw": 0.01, "sgd": 0.05, "rmsprop": 0.002, "muon": 0.02}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", get_args(ScheduleName))
def test_every_optimizer_learns_with_every_schedule(
    data: PreparedData, optimizer: str, schedule: str
) -> None:
    trained = fit(
        data,
        epochs=10,
        lr=OPTIMIZERS[optimizer],
        optimizer=optimizer,
        schedule=schedule,
        warmup_epochs=2,
        step_epochs=4,
        weight_decay=1e-4,
    )
    assert trained.metrics()["val_accuracy"] > 0.8


def test_a_loss_that_is_no_number_ends_in_one_sentence(data: PreparedData) -> None:
    with pytest.raises(UserError, match=r"epoch 1: lower train\.lr"):
        fit(data, lr=1e30, schedule="constant", optimizer="sgd")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_weight_decay_that_ends_a_run_is_named(data: PreparedData, optimizer: str) -> None:
    with pytest.raises(UserError, match=r"epoch 1: lower train\.weight_decay \(1e\+30\)"):
        fit(data, weight_decay=1e30, lr=0.01, schedule="constant", optimizer=optimizer)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UserError, match=r"train\.batch_size: 10 .* \(4\)"):
        dataclasses.replace(PARAMS, batch_size=10, accumulation_steps=4)


def test_bfloat16_trains_too(data: PreparedData) -> None:
    first, second = (fit(data, precision="bf16", epochs=8) for _ in range(2))
    assert first.metrics()["val_accuracy"] > 0.85
    assert digest(first) == digest(second)


def test_the_learning_rate_follows_the_schedule(data: PreparedData) -> None:
    trained = fit(data, epochs=3, schedule="linear")
    schedule = Schedule("linear", 24, 8)
    for epoch, row in enumerate(trained.history):
        assert row["lr"] == pytest.approx(0.01 * schedule.factor(epoch * 8 + 7))
