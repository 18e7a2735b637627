"""The best epoch is kept, and the model file scores what training reported."""

import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from classifier.core.errors import UserError
from classifier.dataset.prepared import PreparedData
from classifier.models import model_file
from classifier.models.classifier import Classifier, TestTimeAugmentation
from classifier.models.forward import predict_logits
from classifier.training.validation import Monitor, validation_scores
from tests.support.prepared_digits import prepared_digits
from tests.support.training_runs import PARAMS, SMALL, fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("digits"), train=512, val=128)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("augmentation", ["none", "mirror"])
def test_a_reloaded_model_scores_what_training_reported(
    data: PreparedData, tmp_path: Path, ema_decay: float, augmentation: TestTimeAugmentation
) -> None:
    model = dataclasses.replace(SMALL, test_time_augmentation=augmentation)
    trained = fit(data, model=model, ema_decay=ema_decay)
    model_file.save(tmp_path / "model.safetensors", trained.network, trained.spec())
    network, spec = model_file.load(tmp_path / "model.safetensors")
    facts = (spec.mean, spec.std, "cpu", PARAMS.batch_size)
    logits = predict_logits(network, data.images("val"), *facts)
    scores = validation_scores(logits, data.labels("val"))
    reported = trained.metrics()
    assert np.array_equal(logits, trained.val_logits)
    assert (scores["accuracy"], scores["loss"]) == (reported["val_accuracy"], reported["val_loss"])
    assert 0.05 <= spec.temperature <= 20
    assert spec.classes == tuple("0123456789")
    # While training, each epoch is scored by one view of an image.
    network.test_time_augmentation = "none"
    plain = predict_logits(network, data.images("val"), *facts)
    best = trained.history[trained.best_epoch - 1]
    assert validation_scores(plain, data.labels("val"))["loss"] == pytest.approx(best["val_loss"])
    assert np.array_equal(plain, logits) == (augmentation == "none")


def test_validation_takes_no_more_images_at_a_time_than_a_training_step(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: set[tuple[bool, int]] = set()
    forward = Classifier.forward

    def counted(network: Classifier, images: torch.Tensor) -> torch.Tensor:
        taken.add((network.training, len(images)))
        return forward(network, images)

    monkeypatch.setattr(Classifier, "forward", counted)
    fit(data, batch_size=32, accumulation_steps=2, epochs=1)
    assert {size for training, size in taken if training} == {16}
    assert max(size for training, size in taken if not training) == 16


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


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_weights_that_are_no_numbers_are_never_the_best(
    data: PreparedData, monitor: Monitor
) -> None:
    """The only step of the only epoch: its loss is computed before the weights are ruined."""
    with pytest.raises(UserError, match=r"epoch 1: lower train\.lr"):
        fit(data, lr=1e30, epochs=1, batch_size=512, optimizer="sgd", monitor=monitor)
