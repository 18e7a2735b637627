"""Uneven classes: what is drawn, what an image weighs, and that weights change no label."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.core.parse import parse
from classifier.dataset.prepared import PreparedData
from classifier.experiments.learning_rate_finder import find_learning_rate
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams
from classifier.training.imbalance import (
    ClassWeights,
    Sampler,
    class_weights,
    epoch_order,
    image_losses,
)
from classifier.training.loop import train
from classifier.training.params import TrainParams
from classifier.training.record import Trained
from tests.support.prepared_digits import prepared_digits

NAMES = ("other", "zero")
COUNTS = (600, 20)
MODEL = ModelParams("cnn", cnn=CnnParams(filters=(8,), dense_units=16, batch_norm=False))
PARAMS = TrainParams(
    lr=0.01, epochs=1, batch_size=sum(COUNTS), optimizer="adamw", seed=0, label_smoothing=0.1
)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Is a digit a zero? `COUNTS` of each answer to train on, 50 of each to validate."""
    folder = tmp_path_factory.mktemp("uneven")
    digits = prepared_digits(folder / "digits", train=1797, val=0)
    images, labels = digits.images("train"), (digits.labels("train") == 0).astype(np.int64)
    of_class = [np.flatnonzero(labels == answer) for answer in (0, 1)]
    rows = {
        "train": np.append(of_class[0][: COUNTS[0]], of_class[1][: COUNTS[1]]),
        "val": np.append(of_class[0][-50:], of_class[1][-50:]),
    }
    for split, chosen in rows.items():
        np.save(folder / f"{split}.npy", images[chosen])
        np.save(folder / f"{split}_labels.npy", labels[chosen])
    counts = {split: len(chosen) for split, chosen in rows.items()}
    return PreparedData(folder, {**digits.meta, "classes": list(NAMES), "counts": counts})


def fit(data: PreparedData, augment: AugmentParams | None = None, **changes: Any) -> Trained:
    params = dataclasses.replace(PARAMS, **changes)
    return train(params, MODEL, augment or AugmentParams(), data, say=lambda line: None)


def test_shuffle_takes_each_row_once() -> None:
    order = epoch_order(np.zeros(30, int), "shuffle", 1, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(30))


def test_balanced_draws_each_class_equally_often() -> None:
    labels = np.array([0] * 900 + [2] * 90 + [3] * 10)  # class 1 has no images
    order = epoch_order(labels, "balanced", 4, torch.Generator().manual_seed(0))
    counts = np.bincount(labels[order.numpy()], minlength=4)
    assert len(order) == 1000
    assert counts[1] == 0
    assert (abs(counts[[0, 2, 3]] - 333) < 60).all()
    assert len(set(order.tolist()) & set(range(990, 1000))) == 10


@pytest.mark.parametrize("wanted", ["balanced", (1.0, 3.0), {"dog": 6.0, "cat": 2.0}])
def test_class_weights_have_mean_one_over_the_images(wanted: ClassWeights) -> None:
    labels = np.array([0] * 6 + [1] * 2)
    weights = class_weights(wanted, labels, ("cat", "dog"))
    assert weights is not None
    assert weights[torch.from_numpy(labels)].mean().item() == pytest.approx(1.0)
    assert (weights[1] / weights[0]).item() == pytest.approx(3.0)


def test_weights_are_relative_to_what_the_sampler_draws() -> None:
    labels = np.array([0] * 900 + [2] * 10)  # class 1 has no images
    names = ("cat", "cow", "dog")
    assert class_weights("none", labels, names) is None
    balanced = class_weights("balanced", labels, names, "balanced")
    assert balanced is not None
    assert balanced[[0, 2]].tolist() == [1.0, 1.0]
    given = class_weights((1.0, 5.0, 3.0), labels, names, "balanced")
    assert given is not None
    assert given[[0, 2]].tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ((1.0, 2.0), r"2 numbers for 3 classes.*order of data/raw/classes\.json"),
        ((), "0 numbers for 3 classes"),
        ({"cat": 1.0, "dgo": 2.0}, r"'dgo' is not a class \(did you mean 'dog'"),
        ({"cat": 1.0, "007": 2.0}, r"no number for 'dog'"),
        ({}, r"no number for 'cat' and 2 more"),
        ({"cat": 0.0, "dog": 0.0, "007": 1.0}, "every image of the train split the weight 0"),
    ],
)
def test_a_class_without_a_number_or_a_number_without_a_class_is_refused(
    wanted: ClassWeights, words: str
) -> None:
    with pytest.raises(UserError, match=words) as refused:
        class_weights(wanted, np.array([0, 0, 1]), ("cat", "dog", "007"))
    assert "\n" not in str(refused.value)


def test_names_of_classes_may_be_numbers() -> None:
    plain = {"lr": 0.1, "epochs": 1, "batch_size": 1, "optimizer": "sgd", "seed": 0}
    params = parse(TrainParams, {**plain, "class_weights": {3: 1, "7": 2.5}}, "train")
    assert params.class_weights == {"3": 1.0, "7": 2.5}


def test_an_image_weighs_what_its_true_class_weighs() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=generator)
    labels = torch.randint(3, (40,), generator=generator)
    weights = torch.tensor([0.5, 1.0, 15.0])
    plain = image_losses(logits, labels, None, 0.1)
    assert torch.equal(
        plain, F.cross_entropy(logits, labels, label_smoothing=0.1, reduction="none")
    )
    torch.testing.assert_close(image_losses(logits, labels, weights, 0.1), plain * weights[labels])
    one_hot = F.one_hot(labels, 3).float()
    torch.testing.assert_close(image_losses(logits, one_hot, weights, 0.1), plain * weights[labels])
    mixed = 0.75 * one_hot + 0.25 * one_hot.roll(1, 0)
    weight = 0.75 * weights[labels] + 0.25 * weights[labels].roll(1, 0)
    plain = image_losses(logits, mixed, None, 0.1)
    torch.testing.assert_close(image_losses(logits, mixed, weights, 0.1), plain * weight)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_least_loss_is_at_the_label(mixed: bool) -> None:
    """Whatever the weights: of each image alone they scale the loss and do not move it."""
    label = torch.tensor([[0.6, 0.4]]) if mixed else torch.tensor([0])
    aim = torch.tensor([0.6, 0.4]) if mixed else torch.tensor([1.0, 0.0])
    logits = torch.zeros(1, 2, requires_grad=True)
    weights = torch.tensor([0.5, 15.5])
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = image_losses(logits, label, weights, 0.1).sum()
        found.backward()
        return found

    optimizer.step(loss)  # type: ignore[arg-type]
    expected = 0.9 * aim + 0.1 / 2
    torch.testing.assert_close(logits.softmax(1)[0].detach(), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("augment", [{}, {"mixup": 0.2}, {"cutmix": 1.0}], ids=str)
@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
@pytest.mark.parametrize("wanted", ["balanced", (1.0, 30.0)])
def test_weights_keep_the_size_of_the_loss(
    uneven: PreparedData, wanted: ClassWeights, sampler: Sampler, augment: dict[str, float]
) -> None:
    """Before the first step it is that of a guess, in the mean over all images."""
    trained = fit(uneven, AugmentParams(**augment), class_weights=wanted, sampler=sampler)
    exact = sampler == "shuffle" and not augment
    first = trained.history[0]["train_loss"]
    assert first == pytest.approx(math.log(2), rel=0.05 if exact else 0.2)


def test_the_learning_rate_finder_weighs_as_training_does(uneven: PreparedData) -> None:
    params = dataclasses.replace(PARAMS, class_weights=(1.0, 30.0))
    found = find_learning_rate(params, MODEL, AugmentParams(), uneven, steps=60)
    assert found.losses[0] == pytest.approx(math.log(2), rel=0.05)


@pytest.mark.parametrize("augment", [{}, {"mixup": 0.2}, {"cutmix": 1.0}], ids=str)
def test_the_rare_class_is_found_and_the_other_too(
    uneven: PreparedData, augment: dict[str, float]
) -> None:
    settings = {"epochs": 15, "batch_size": 31, "ema_decay": 0.9}
    trained = fit(uneven, AugmentParams(**augment), class_weights="balanced", **settings)
    predicted = trained.val_logits.argmax(1)
    recalls = [np.mean(predicted[trained.val_labels == k] == k) for k in (0, 1)]
    assert min(recalls) > 0.8, recalls


def test_balancing_twice_is_told(uneven: PreparedData) -> None:
    lines: list[str] = []
    params = dataclasses.replace(PARAMS, class_weights="balanced", sampler="balanced")
    train(params, MODEL, AugmentParams(), uneven, say=lines.append)
    assert [line for line in lines if line.startswith("warning: ")] == [
        "warning: train.sampler balances the classes: train.class_weights changes nothing."
    ]
