"""Training repeats itself to the bit, and one setting moves no random draw of another."""

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classifier.augment.augmenter import AugmentParams
from classifier.core.files import read_json, write_json
from classifier.dataset.prepared import PreparedData
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams
from classifier.training import session
from classifier.training.loop import train
from tests.support.prepared_digits import prepared_digits
from tests.support.training_runs import PARAMS, SHIFT, SMALL, digest, fit

GOLDEN = Path(__file__).parent / "golden" / "training.json"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("digits"), train=512, val=128)


def test_twice_is_the_same_to_the_bit_and_another_seed_is_not(data: PreparedData) -> None:
    first, second, other = fit(data), fit(data), fit(data, seed=1)
    assert digest(first) == digest(second) != digest(other)
    assert first.history == second.history
    assert np.array_equal(first.val_logits, second.val_logits)


def test_random_streams_do_not_shift_each_other(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a setting does not name stays: first weights, orders, augmented images, dropout."""
    seen: dict[str, list[str]] = {}

    def watch(name: str, find: Callable[..., Any], show: Callable[[Any], bytes]) -> None:
        def watched(*args: Any, **options: Any) -> Any:
            found = find(*args, **options)
            shown = show(args[0] if name == "weights" else found)
            seen.setdefault(name, []).append(hashlib.sha256(shown).hexdigest())
            return found

        monkeypatch.setattr(session, where[name], watched)

    def weights(network: torch.nn.Module) -> bytes:
        return b"".join(p.detach().numpy().tobytes() for p in network.parameters())

    where = {"weights": "build_optimizer", "order": "epoch_order", "augmented": "standardize"}
    watch("weights", session.build_optimizer, weights)
    watch("order", session.epoch_order, lambda order: order.numpy().tobytes())
    watch("augmented", session.standardize, lambda x: x.contiguous().numpy().tobytes())

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


def test_streamed_images_give_the_same_model(data: PreparedData) -> None:
    assert digest(fit(data, data_placement="stream")) == digest(
        fit(data, data_placement="resident")
    )


def test_golden_metrics(data: PreparedData) -> None:
    """Other machines add in another order: equal within a tolerance. REGENERATE=1 rewrites."""
    runs = {
        "plain": {},
        "everything": {
            "optimizer": "muon",
            "schedule": "cosine",
            "warmup_epochs": 0.5,
            "label_smoothing": 0.1,
            "gradient_clip_norm": 1.0,
            "accumulation_steps": 2,
            "ema_decay": 0.9,
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
