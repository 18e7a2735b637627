"""The last layer trained on kept embeddings is the one that training on the images gives."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.dataset.prepared import PreparedData
from classifier.models.forward import predict_logits
from classifier.models.kept_embeddings import KeptEmbeddings
from classifier.models.model_file import save
from classifier.models.networks.cnn import CnnParams
from classifier.models.networks.fast import FastParams
from classifier.models.registry import ModelParams
from classifier.training import loop
from classifier.training.distributed import Ranks
from classifier.training.features import FeatureSession, check, train_embeddings
from classifier.training.params import TrainParams
from classifier.training.record import Trained
from classifier.training.run.checkpoint import Checkpoints
from classifier.training.session import Session
from tests.support.prepared_digits import prepared_digits

NET: dict[str, Any] = {"name": "fast", "fast": FastParams(widths=(8, 16), dropout=0.2)}
PARAMS = TrainParams(lr=0.01, epochs=3, batch_size=64, optimizer="adamw", seed=0)
VIEWS = TrainParams(**{**vars(PARAMS), "feature_views": 1})
MOVED = AugmentParams(shift=0.2, rotate=20)


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return prepared_digits(tmp_path / "prepared", train=300, val=100)


@pytest.fixture
def frozen(tmp_path: Path, data: PreparedData) -> ModelParams:
    """Trained on the digits under other names, so that its last layer is new."""
    trained = loop.train(PARAMS, ModelParams(**NET), AugmentParams(), data)
    spec = trained.spec()
    path = tmp_path / "start.safetensors"
    renamed = tuple(f"old {name}" for name in spec.classes)
    save(path, trained.network, type(spec)(**{**vars(spec), "classes": renamed}))
    return ModelParams(**NET, pretrained=str(path), freeze="backbone")


@pytest.fixture
def on_features(frozen: ModelParams, data: PreparedData, tmp_path: Path) -> Callable[..., Trained]:
    def run(params: TrainParams = VIEWS, augment: AugmentParams = MOVED, **args: Any) -> Trained:
        session_of = partial(FeatureSession, folder=tmp_path / "kept")
        return loop.train(params, frozen, augment, data, session_of=session_of, **args)

    return run


def test_the_numbers_are_those_of_training_through_the_frozen_backbone(
    on_features: Callable[..., Trained], frozen: ModelParams, data: PreparedData
) -> None:
    through = loop.train(PARAMS, frozen, AugmentParams(), data)
    found = on_features()
    np.testing.assert_allclose(found.val_logits, through.val_logits, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(found.history, through.history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    answers = predict_logits(found.network, data.images("val"), found.plan.mean, found.plan.std)
    np.testing.assert_allclose(answers, found.val_logits, rtol=1e-4, atol=1e-4)
    assert found.plan == through.plan


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    on_features: Callable[..., Trained], tmp_path: Path
) -> None:
    whole = on_features()
    checkpoints = Checkpoints(tmp_path / "state", "1 epoch")

    def stop(history: list[Any]) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_features(checkpoints=checkpoints, on_epoch=stop)
    said: list[str] = []
    assert np.array_equal(
        on_features(checkpoints=checkpoints, say=said.append).val_logits, whole.val_logits
    )
    assert any(line.startswith("going on with epoch 2") for line in said)


def test_views_are_augmented_each_in_its_way_and_kept(
    frozen: ModelParams, data: PreparedData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = TrainParams(**{**vars(PARAMS), "feature_views": 3})
    session = Session(params, frozen, MOVED, data, Ranks())

    def views() -> np.ndarray:
        kept = KeptEmbeddings(
            tmp_path / "kept", session.network, session.spec, data, session.device
        )
        return train_embeddings(session, kept, MOVED)

    first = views()
    assert first.shape == (3, 300, session.network.last_linear.in_features)
    changed = np.abs(first - first[:1]).reshape(3, 300, -1).max(2)
    assert (changed[0] == 0).all()
    assert (changed[1:] > 1e-3).mean() > 0.95, "of a view, few images stay as they are"
    assert not np.allclose(first[1], first[2])
    capsys.readouterr()
    assert np.array_equal(views(), first)
    assert capsys.readouterr().out.count("embeddings of 300 train images from") == 3


def test_a_view_without_augmentation_is_the_image(frozen: ModelParams, data: PreparedData) -> None:
    session = Session(PARAMS, frozen, AugmentParams(), data, Ranks())
    pixels = torch.from_numpy(data.images("train")[:]).permute(0, 3, 1, 2) / 255
    wanted = (pixels - session.spec.mean[0]) / session.spec.std[0]
    found = torch.cat(list(session.view(4)))
    torch.testing.assert_close(found, wanted)


def test_training_draws_among_the_views(on_features: Callable[..., Trained]) -> None:
    one, three = (
        on_features(TrainParams(**{**vars(PARAMS), "feature_views": views})) for views in (1, 3)
    )
    assert not np.allclose(one.val_logits, three.val_logits)


@pytest.mark.parametrize(
    ("params", "model", "augment", "message"),
    [
        ({}, {"freeze": "none"}, AugmentParams(), "model.freeze to backbone"),
        ({}, {"unfreeze_every": 1}, AugmentParams(), "model.freeze to backbone"),
        ({"feature_views": 2}, {}, AugmentParams(mixup=0.2), "augment.mixup"),
        ({"processes": 2}, {}, AugmentParams(), "train.processes to 1"),
    ],
)
def test_what_embeddings_cannot_stand_for_is_refused(
    params: dict[str, Any], model: dict[str, Any], augment: AugmentParams, message: str
) -> None:
    asked = TrainParams(**{**vars(VIEWS), **params})
    chosen = ModelParams(**{**NET, "pretrained": True, "freeze": "backbone", **model})
    with pytest.raises(UserError, match=message):
        check(asked, chosen, augment)
    check(PARAMS, chosen, augment)


def test_a_head_of_several_layers_is_refused(data: PreparedData, tmp_path: Path) -> None:
    net: dict[str, Any] = {"name": "cnn", "cnn": CnnParams(filters=(8,), dense_units=16)}
    trained = loop.train(PARAMS, ModelParams(**net), AugmentParams(), data)
    save(tmp_path / "start.safetensors", trained.network, trained.spec())
    model = ModelParams(**net, pretrained=str(tmp_path / "start.safetensors"), freeze="backbone")
    with pytest.raises(UserError, match="more layers than one"):
        FeatureSession(VIEWS, model, AugmentParams(), data, Ranks(), folder=tmp_path / "kept")
