"""The learning-rate finder: a rate in the range that trains well, and its image."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.experiments import learning_rate_finder
from classifier.experiments.learning_rate_finder import (
    MEMORY,
    Found,
    draw,
    find_learning_rate,
    suggest,
)
from classifier.models.registry import ModelParams
from classifier.training.loop import train
from classifier.training.params import TrainParams
from classifier.training.progressive_resizing import ProgressiveParams
from tests.support.prepared_digits import prepared_digits

MODEL = ModelParams("cnn")
PARAMS = TrainParams(lr=1.0, epochs=4, batch_size=64, optimizer="adamw", seed=0)


def test_it_suggests_a_rate_that_learns_and_draws_the_curve(tmp_path: Path) -> None:
    data = prepared_digits(tmp_path / "digits", train=640, val=144)
    found = find_learning_rate(PARAMS, MODEL, AugmentParams(), data, steps=100)
    assert 1e-4 < found.suggestion < 0.1
    assert found.rates == sorted(found.rates)
    assert len(found.rates) == len(found.losses) <= 100
    params = dataclasses.replace(PARAMS, lr=found.suggestion)
    trained = train(params, MODEL, AugmentParams(), data, say=lambda line: None)
    assert trained.metrics()["val_accuracy"] > 0.9
    draw(found, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gradient_clip_norm": 0.05},
        {"accumulation_steps": 4},
        {"progressive": ProgressiveParams(first_scale=0.5)},
        {"optimizer": "muon", "label_smoothing": 0.1, "sampler": "balanced"},
    ],
    ids=str,
)
def test_its_steps_are_those_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """At one rate throughout, its losses are those of an epoch at this rate."""
    monkeypatch.setattr(learning_rate_finder, "suggest", lambda rates, losses: rates[0])
    data = prepared_digits(tmp_path / "digits", train=640, val=16)
    params = dataclasses.replace(PARAMS, **{"epochs": 1, "batch_size": 32, "lr": 0.01, **changes})
    augment = AugmentParams(shift=0.1, cutmix=0.5)
    found = find_learning_rate(params, MODEL, augment, data, lowest=0.01, highest=0.01, steps=20)
    averages = [loss * (1 - MEMORY ** (n + 1)) for n, loss in enumerate(found.losses)]
    before = [0.0, *averages[:-1]]
    losses = [
        (now - MEMORY * last) / (1 - MEMORY) for now, last in zip(averages, before, strict=True)
    ]
    [row] = train(params, MODEL, augment, data, say=lambda line: None).history
    assert len(losses) == 20
    assert sum(losses) / 20 == pytest.approx(row["train_loss"], rel=1e-5)


def test_the_suggestion_is_a_tenth_of_the_best() -> None:
    rates = [10.0**-k for k in range(11, 0, -1)]
    losses = [2.3, 2.3, 2.3, 2.3, 2.2, 2.0, 1.0, 0.5, 0.4, 0.6, 2.0]
    assert suggest(rates, losses) == pytest.approx(1e-4)


def test_a_loss_that_never_falls_has_no_suggestion() -> None:
    with pytest.raises(UserError, match="falls at no learning rate"):
        suggest([0.1] * 20, [2.3] * 20)


def test_a_curve_that_breaks_off_can_be_drawn(tmp_path: Path) -> None:
    draw(Found([1e-3, 1e-2], [2.3, 1.0], 1e-3), tmp_path / "curve.png")
    assert Image.open(tmp_path / "curve.png").getcolors(9) is None  # None: it has more colors
