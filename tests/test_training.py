"""The training loop: it learns, it repeats itself to the bit, and it says what it reported."""

import dataclasses
import hashlib
import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from classifier import modelfile, training
from classifier.augment import AugmentParams
from classifier.batches import normalise, predict_logits
from classifier.checkpoint import Checkpoints
from classifier.errors import UserError
from classifier.files import read_json, write_json
from classifier.models import ModelParams, build
from classifier.models.base import Classifier, Views
from classifier.models.cnn import CnnParams
from classifier.optimizers import build_optimizer
from classifier.prepare import PreparedData
from classifier.schedules import Schedule, ScheduleName
from classifier.trained import Trained
from classifier.training import TrainParams, train
from classifier.validation import Monitor, validation_scores
from tests.prepared_digits import prepared_digits

GOLDEN = Path(__file__).parent / "golden" / "training.json"
SMALL = ModelParams("cnn", cnn=CnnParams(filters=(16, 32), dense_units=32))
SHIFT = AugmentParams(shift=0.125)
PARAMS = TrainParams(
    lr=0.01, epochs=2, batch_size=64, optimizer="adamw", seed=0, schedule="onecycle"
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("digits"), train=512, val=128)


def fit(pictures: PreparedData, augment: AugmentParams = SHIFT, **changes: Any) -> Trained:
    options = {name: changes.pop(name) for name in ("checkpoints", "on_epoch") if name in changes}
    model = changes.pop("model", SMALL)
    params = dataclasses.replace(PARAMS, **changes)
    return train(params, model, augment, pictures, say=lambda line: None, **options)


def digest(trained: Trained) -> str:
    """Of all weights, bit by bit."""
    content = hashlib.sha256()
    for value in trained.network.state_dict().values():
        content.update(value.contiguous().numpy().tobytes())
    return content.hexdigest()


def test_the_first_loss_is_that_of_a_guess(data: PreparedData) -> None:
    torch.manual_seed(0)
    network = build("cnn", {}, classes=10, channels=1, image_size=8)
    images = torch.from_numpy(np.array(data.images("train")))
    logits = network(normalise(images, data.meta["mean"], data.meta["std"]))
    loss = F.cross_entropy(logits, torch.from_numpy(data.labels("train"))).item()
    assert loss == pytest.approx(math.log(10), rel=0.02)


def test_the_network_learns_one_batch_by_heart(data: PreparedData) -> None:
    torch.manual_seed(0)
    network = build("cnn", {}, classes=10, channels=1, image_size=8)
    images = normalise(torch.from_numpy(data.images("train")[:32].copy()), [0.3], [0.4])
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


def test_twice_is_the_same_to_the_bit_and_another_seed_is_not(data: PreparedData) -> None:
    first, second, other = fit(data), fit(data), fit(data, seed=1)
    assert digest(first) == digest(second) != digest(other)
    assert first.history == second.history
    assert np.array_equal(first.val_logits, second.val_logits)


def test_random_streams_do_not_shift_each_other(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a setting does not name stays: first weights, orders, augmented pictures, dropout."""
    seen: dict[str, list[str]] = {}

    def watch(name: str, find: Callable[..., Any], show: Callable[[Any], bytes]) -> None:
        def watched(*args: Any, **options: Any) -> Any:
            found = find(*args, **options)
            shown = show(args[0] if name == "weights" else found)
            seen.setdefault(name, []).append(hashlib.sha256(shown).hexdigest())
            return found

        monkeypatch.setattr(training, where[name], watched)

    def weights(network: torch.nn.Module) -> bytes:
        return b"".join(p.detach().numpy().tobytes() for p in network.parameters())

    where = {"weights": "build_optimizer", "order": "epoch_order", "augmented": "standardise"}
    watch("weights", training.build_optimizer, weights)
    watch("order", training.epoch_order, lambda order: order.numpy().tobytes())
    watch("augmented", training.standardise, lambda x: x.contiguous().numpy().tobytes())

    def streams(model: ModelParams = SMALL, augment: AugmentParams = SHIFT, **changes: Any) -> Any:
        seen.clear()
        params = dataclasses.replace(PARAMS, **changes)
        train(params, model, augment, data, say=lambda line: None)
        return dict(seen)

    plain = streams()
    assert len(plain["order"]) == 2
    assert len(set(plain["augmented"])) == 16
    stronger = streams(augment=dataclasses.replace(SHIFT, noise=0.1, mixup=0.2))
    assert stronger["augmented"] != plain["augmented"]
    assert (stronger["weights"], stronger["order"]) == (plain["weights"], plain["order"])
    dropout = ModelParams("cnn", cnn=CnnParams(filters=(16, 32), dense_units=32, dropout=0.5))
    assert streams(model=dropout) == plain
    other = streams(model=ModelParams("lenet"))
    assert other["weights"] != plain["weights"]
    assert (other["order"], other["augmented"]) == (plain["order"], plain["augmented"])
    assert streams(sampler="balanced")["weights"] == plain["weights"]
    another_seed = streams(seed=1)
    assert all(another_seed[name] != plain[name] for name in plain)


def test_golden_metrics(data: PreparedData) -> None:
    """Other machines add in another order: equal within a tolerance. REGENERATE=1 rewrites."""
    runs = {
        "plain": {},
        "everything": {
            "optimizer": "muon",
            "schedule": "cosine",
            "warmup_epochs": 0.5,
            "label_smoothing": 0.1,
            "clip_norm": 1.0,
            "accumulate": 2,
            "average_decay": 0.9,
            "class_weights": "balanced",
            "sampler": "balanced",
            "weight_decay": 0.01,
            "augment": AugmentParams(shift=0.125, mixup=0.2, cutmix=1.0),
        },
    }
    found = {name: fit(data, epochs=6, **settings).metrics() for name, settings in runs.items()}
    for metrics in found.values():
        metrics.pop("threads")  # of this machine
    if os.environ.get("REGENERATE"):
        write_json(GOLDEN, found)
    golden = read_json(GOLDEN)
    for name, metrics in found.items():
        assert metrics == pytest.approx(golden[name], rel=0.1, abs=0.05), name


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
@pytest.mark.parametrize("views", ["one", "mirror"])
def test_a_reloaded_model_scores_what_training_reported(
    data: PreparedData, tmp_path: Path, average_decay: float, views: Views
) -> None:
    model = dataclasses.replace(SMALL, views=views)
    trained = fit(data, model=model, average_decay=average_decay)
    modelfile.save(tmp_path / "model.safetensors", trained.network, trained.spec())
    network, spec = modelfile.load(tmp_path / "model.safetensors")
    facts = (spec.mean, spec.std, "cpu", PARAMS.batch_size)
    logits = predict_logits(network, data.images("val"), *facts)
    scores = validation_scores(logits, data.labels("val"))
    reported = trained.metrics()
    assert np.array_equal(logits, trained.val_logits)
    assert (scores["accuracy"], scores["loss"]) == (reported["val_accuracy"], reported["val_loss"])
    assert 0.05 <= spec.temperature <= 20
    assert spec.classes == tuple("0123456789")
    # While training, each epoch is scored by one view of a picture.
    network.views = "one"
    plain = predict_logits(network, data.images("val"), *facts)
    best = trained.history[trained.best_epoch - 1]
    assert validation_scores(plain, data.labels("val"))["loss"] == pytest.approx(best["val_loss"])
    assert np.array_equal(plain, logits) == (views == "one")


def test_validation_takes_no_more_pictures_at_a_time_than_a_training_step(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: set[tuple[bool, int]] = set()
    forward = Classifier.forward

    def counted(network: Classifier, images: torch.Tensor) -> torch.Tensor:
        taken.add((network.training, len(images)))
        return forward(network, images)

    monkeypatch.setattr(Classifier, "forward", counted)
    fit(data, batch_size=32, accumulate=2, epochs=1)
    assert {size for training, size in taken if training} == {16}
    assert max(size for training, size in taken if not training) == 16


def test_streamed_pictures_give_the_same_model(data: PreparedData) -> None:
    assert digest(fit(data, data="stream")) == digest(fit(data, data="resident"))


def test_pieces_of_a_batch_add_up(data: PreparedData) -> None:
    """Without batch norm, which sees the pieces, they are the whole batch but for rounding."""
    model = ModelParams("cnn", cnn=CnnParams((16, 32), dense_units=32, batch_norm=False))
    settings = {"optimizer": "sgd", "class_weights": "balanced", "clip_norm": 1.0}
    augment = AugmentParams(shift=0.125, mixup=0.2)
    whole, pieces = (
        train(
            dataclasses.replace(PARAMS, accumulate=count, label_smoothing=0.1, **settings),
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


def test_the_best_epoch_is_kept_and_patience_ends_the_run(data: PreparedData) -> None:
    trained = fit(data, epochs=30, lr=0.02, schedule="constant", patience=3, monitor="loss")
    losses = [row["val_loss"] for row in trained.history]
    assert trained.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == trained.best_epoch + 3 < 30
    assert trained.metrics()["val_loss"] == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize("monitor", get_args(Monitor))
def test_any_score_can_be_monitored_and_stops_early(data: PreparedData, monitor: Monitor) -> None:
    settings = {"lr": 0.02, "schedule": "constant", "patience": 2}
    trained = fit(data, epochs=25, monitor=monitor, **settings)
    sign = -1 if monitor == "loss" else 1
    scores = [sign * row[f"val_{monitor}"] for row in trained.history]
    assert scores[trained.best_epoch - 1] == max(scores)
    assert len(scores) == trained.best_epoch + 2 < 25
    assert f"val_{monitor}" in trained.metrics()


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


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(
    data: PreparedData, tmp_path: Path, sign: signal.Signals
) -> None:
    wanted = digest(fit(data, epochs=3))
    checkpoints = Checkpoints(tmp_path / "run", "100 epochs")

    def interrupt(history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            os.kill(os.getpid(), sign)

    with pytest.raises(KeyboardInterrupt, match="after epoch 2 of 3; run the same command again"):
        fit(data, epochs=3, checkpoints=checkpoints, on_epoch=interrupt)
    assert signal.getsignal(sign) is not None
    state = checkpoints.load()
    assert state is not None
    assert (state["epoch"], state["step"]) == (2, 0)
    assert digest(fit(data, epochs=3, checkpoints=checkpoints)) == wanted


@pytest.mark.parametrize("settings", [{"epochs": 3}, {"epochs": 30, "lr": 0.1, "patience": 1}])
def test_a_run_that_was_stopped_after_its_last_epoch_has_no_further_one(
    data: PreparedData, tmp_path: Path, settings: dict[str, Any]
) -> None:
    straight = fit(data, **settings)
    last = len(straight.history)
    assert last < 30
    checkpoints = Checkpoints(tmp_path / "run", "100 epochs")

    def interrupt(history: list[dict[str, float]]) -> None:
        if len(history) == last:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=f"after epoch {last} of {settings['epochs']};"):
        fit(data, checkpoints=checkpoints, on_epoch=interrupt, **settings)
    lines: list[str] = []
    params = dataclasses.replace(PARAMS, **settings)
    again = train(params, SMALL, SHIFT, data, checkpoints=checkpoints, say=lines.append)
    assert "going on after the last epoch" in lines
    assert not any(f"epoch {last + 1}" in line for line in lines)
    assert digest(again) == digest(straight)


def test_a_run_goes_on_from_the_middle_of_an_epoch(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"epochs": 3, "average_decay": 0.9, "schedule": "plateau", "optimizer": "sgd"}
    straight = fit(data, **settings)
    checkpoints = Checkpoints(tmp_path / "run", "1 epoch")
    saved = 0

    def due(epoch_ended: bool) -> bool:
        nonlocal saved
        saved += 1
        if saved == 13:  # after 8 steps and the first epoch: the fifth step of the second
            return True
        if saved > 13:
            raise MemoryError
        return False

    monkeypatch.setattr(checkpoints, "due", due)
    with pytest.raises(MemoryError):
        fit(data, checkpoints=checkpoints, **settings)
    state = checkpoints.load()
    assert state is not None
    assert (state["epoch"], state["step"]) == (1, 5)
    resumed = fit(data, checkpoints=Checkpoints(tmp_path / "run", "1 epoch"), **settings)
    assert digest(resumed) == digest(straight)
    assert resumed.history == straight.history


def test_a_finished_state_only_needs_its_end(data: PreparedData, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "1 epoch")
    straight = fit(data, checkpoints=checkpoints)
    epochs: list[int] = []
    again = fit(data, checkpoints=checkpoints, on_epoch=lambda h: epochs.append(len(h)))
    assert epochs == [2], "the files of the run are written once more, nothing is trained"
    assert digest(again) == digest(straight)


def test_a_loss_that_is_no_number_ends_in_one_sentence(data: PreparedData) -> None:
    with pytest.raises(UserError, match=r"epoch 1: lower train\.lr"):
        fit(data, lr=1e30, schedule="constant", optimizer="sgd")


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_weights_that_are_no_numbers_are_never_the_best(
    data: PreparedData, monitor: Monitor
) -> None:
    """The only step of the only epoch: its loss is computed before the weights are ruined."""
    with pytest.raises(UserError, match=r"epoch 1: lower train\.lr"):
        fit(data, lr=1e30, epochs=1, batch_size=512, optimizer="sgd", monitor=monitor)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UserError, match=r"train\.batch_size: 10 .* \(4\)"):
        dataclasses.replace(PARAMS, batch_size=10, accumulate=4)


def test_bfloat16_trains_too(data: PreparedData) -> None:
    first, second = (fit(data, precision="bf16", epochs=8) for _ in range(2))
    assert first.metrics()["val_accuracy"] > 0.85
    assert digest(first) == digest(second)


def test_the_learning_rate_follows_the_schedule(data: PreparedData) -> None:
    trained = fit(data, epochs=3, schedule="linear")
    schedule = Schedule("linear", 24, 8)
    for epoch, row in enumerate(trained.history):
        assert row["lr"] == pytest.approx(0.01 * schedule.factor(epoch * 8 + 7))


def test_tensorboard_files_hold_what_was_asked_for(data: PreparedData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from classifier.board import Board

    board = Board(tmp_path)
    plain = digest(fit(data))
    params = dataclasses.replace(PARAMS)
    trained = train(params, SMALL, SHIFT, data, board=board, say=lambda line: None)
    board.close()
    assert digest(trained) == plain, "looking on changes nothing"
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()
    assert {"train_loss", "val_accuracy", "lr"} <= set(tags["scalars"])
    assert len(events.Scalars("val_loss")) == 2
    assert any(name.startswith("weights/") for name in tags["histograms"])
    assert any(name.startswith("gradients/") for name in tags["histograms"])
    assert {"activations/block1", "activations/block2"} <= set(tags["images"])
    assert tags["graph"]


def test_golden_file_is_readable() -> None:
    assert set(json.loads(GOLDEN.read_text())) == {"plain", "everything"}
