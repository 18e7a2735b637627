"""The head that is fitted as a logistic regression to what a frozen backbone gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.core.softmax import softmax
from classifier.dataset.prepared import PreparedData
from classifier.inference.export import onnx_bytes
from classifier.models.forward import predict_logits
from classifier.models.kept_embeddings import KeptEmbeddings
from classifier.models.model_file import load, save
from classifier.models.neighbors import TEMPERATURE
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams
from classifier.training import loop
from classifier.training.distributed import Ranks
from classifier.training.params import TrainParams
from classifier.training.probe import STRENGTHS, Features, fit_head, fitted, train_head
from classifier.training.record import Trained
from classifier.training.session import Session
from tests.support.prepared_digits import prepared_digits

CNN = CnnParams(filters=(8, 16), dense_units=16)
PARAMS = TrainParams(lr=0.005, epochs=1, batch_size=64, optimizer="adamw", seed=0)


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return prepared_digits(tmp_path / "prepared", train=300, val=100)


@pytest.fixture
def pretrained(tmp_path: Path, data: PreparedData) -> str:
    """A network that was trained on the digits under other names, so that its last layer is new."""
    longer = TrainParams(**{**vars(PARAMS), "epochs": 20})
    trained = loop.train(longer, ModelParams("cnn", cnn=CNN), AugmentParams(), data)
    spec = trained.spec()
    path = tmp_path / "start.safetensors"
    renamed = tuple(f"old {name}" for name in spec.classes)
    save(path, trained.network, type(spec)(**{**vars(spec), "classes": renamed}))
    return str(path)


@pytest.fixture
def frozen(pretrained: str) -> ModelParams:
    return ModelParams("cnn", pretrained, freeze="backbone", head="logistic", cnn=CNN)


@pytest.fixture
def fit(
    frozen: ModelParams, data: PreparedData, tmp_path: Path
) -> Callable[..., tuple[Trained, list[str]]]:
    def run(params: TrainParams = PARAMS) -> tuple[Trained, list[str]]:
        said: list[str] = []
        return train_head(
            params, frozen, AugmentParams(), data, tmp_path / "kept", said.append
        ), said

    return run


def blobs(classes: int, count: int = 40) -> tuple[Features, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.arange(classes * count) % classes
    values = draw.normal(size=(len(labels), 6)) + 2 * np.eye(6)[labels % 6] + 5
    return Features(values.astype(np.float32), values[::2].astype(np.float32)), labels


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("offset", [True, False])
def test_the_layer_answers_as_scikit_learns_regression(classes: int, offset: bool) -> None:
    found, labels = blobs(classes)
    record, (weight, bias) = fitted(found, labels, labels[::2], classes, offset=offset)
    mean = found.train.mean(0, dtype=np.float64) * offset
    std = found.train.std(dtype=np.float64)
    strength = STRENGTHS[record.best_epoch - 1]
    model = LogisticRegression(C=strength, max_iter=1000, fit_intercept=offset)
    wanted = model.fit((found.train - mean) / std, labels).predict_proba((found.val - mean) / std)
    logits = found.val @ weight.T + bias
    given = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(given / given.sum(1, keepdims=True), wanted, atol=0.01)


def test_a_class_without_training_images_is_never_answered() -> None:
    found, labels = blobs(3)
    _, (weight, bias) = fitted(found, labels * 2, labels[::2] * 2, 6)
    answers = (found.val @ weight.T + bias).argmax(1)
    assert set(answers) == {0, 2, 4}
    with pytest.raises(UserError, match="two classes"):
        fitted(found, labels * 0, labels[::2], 3)


def test_weights_of_images_count() -> None:
    found, labels = blobs(2)
    rare = np.where(labels == 1, 20.0, 1.0)
    answers = []
    for weights in (None, rare):
        _, (weight, bias) = fitted(found, labels, labels[::2], 2, weights=weights)
        answers.append((found.train @ weight.T + bias).argmax(1).sum())
    assert answers[1] > answers[0]


def test_the_network_answers_with_the_head_that_was_fitted(
    fit: Callable[..., tuple[Trained, list[str]]], data: PreparedData
) -> None:
    trained, _ = fit()
    again = predict_logits(trained.network, data.images("val"), trained.plan.mean, trained.plan.std)
    np.testing.assert_allclose(again, trained.val_logits, atol=1e-4)
    assert trained.metrics()["val_accuracy"] > 0.8
    assert [row["strength"] for row in trained.history] == list(STRENGTHS)


def test_the_second_fit_reads_the_embeddings_of_the_first(
    fit: Callable[..., tuple[Trained, list[str]]],
) -> None:
    first, said = fit()
    assert not any("images from" in line for line in said)
    second, said = fit(TrainParams(**{**vars(PARAMS), "class_weights": "balanced"}))
    assert sum("images from" in line for line in said) == 2
    assert not np.array_equal(first.val_logits, second.val_logits)


def test_training_goes_on_from_the_fitted_head(
    pretrained: str, data: PreparedData, tmp_path: Path
) -> None:
    model = ModelParams("cnn", pretrained, head="logistic", cnn=CNN)

    def start(session: Session) -> None:
        fit_head(session, data, AugmentParams(), tmp_path / "kept")

    settings = TrainParams(**{**vars(PARAMS), "lr": 1e-6, "ema_decay": 0.9})
    fitted_first = loop.train(settings, model, AugmentParams(), data, start=start)
    from_random = loop.train(settings, model, AugmentParams(), data)
    assert fitted_first.metrics()["val_accuracy"] > 0.8 > from_random.metrics()["val_accuracy"]


def test_a_fitted_head_wants_pretrained_weights() -> None:
    with pytest.raises(UserError, match=r"set model\.pretrained"):
        ModelParams("cnn", head="logistic")


@pytest.fixture
def neighbors(frozen: ModelParams) -> ModelParams:
    return ModelParams(**{**vars(frozen), "head": "knn"})


def test_neighbors_vote_as_scikit_learns_do(
    neighbors: ModelParams, data: PreparedData, tmp_path: Path
) -> None:
    trained = train_head(PARAMS, neighbors, AugmentParams(), data, tmp_path / "kept")
    session = Session(PARAMS, neighbors, AugmentParams(), data, Ranks())
    kept = KeptEmbeddings(tmp_path / "kept", session.network, session.spec, data, session.device)
    assert kept.known, "other heads read the same embeddings"
    vote = trained.plan.args["neighbors"]["vote"]
    wanted = KNeighborsClassifier(
        vote, metric="cosine", weights=lambda far: np.exp((1 - far) / TEMPERATURE)
    )
    wanted.fit(kept.of("train"), data.labels("train"))
    np.testing.assert_allclose(
        np.exp(trained.val_logits), wanted.predict_proba(kept.of("val")), atol=1e-4
    )
    assert [row["neighbors"] for row in trained.history] == [1, 2, 5, 10, 20, 50, 100]
    assert trained.metrics()["val_accuracy"] > 0.85
    nearest = KNeighborsClassifier(2, metric="cosine").fit(kept.of("train"), data.labels("train"))
    other = nearest.kneighbors(kept.of("train"), return_distance=False)[:, 1]
    right = (data.labels("train")[other] == data.labels("train")).mean()
    assert trained.history[0]["train_accuracy"] == pytest.approx(right, abs=0.005)


def test_a_model_that_holds_neighbors_is_used_like_any_other(
    neighbors: ModelParams, data: PreparedData, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    trained = train_head(PARAMS, neighbors, AugmentParams(), data, tmp_path / "kept")
    path = tmp_path / "model.safetensors"
    save(path, trained.network, trained.spec())
    network, spec = load(path)
    images = data.images("val")[:]
    answers = predict_logits(network, images, spec.mean, spec.std)
    np.testing.assert_allclose(answers, trained.val_logits, atol=1e-4)
    session = onnxruntime.InferenceSession(onnx_bytes(network, spec, {}))
    found = session.run(None, {session.get_inputs()[0].name: images})[0]
    np.testing.assert_allclose(found, softmax(answers, spec.temperature), atol=1e-4)
    features = tmp_path / "kept"
    seen = KeptEmbeddings(features, network, spec, data, torch.device("cpu"))
    assert seen.known, "evaluation finds what training kept"


def test_neighbors_of_views_are_those_of_other_images(
    neighbors: ModelParams, data: PreparedData, tmp_path: Path
) -> None:
    params = TrainParams(**{**vars(PARAMS), "feature_views": 2})
    augment = AugmentParams(noise=0.01)  # a view is all but the image
    trained = train_head(params, neighbors, augment, data, tmp_path / "kept")
    assert trained.plan.args["neighbors"]["images"] == 600
    assert trained.history[0]["train_accuracy"] < 1


def test_neighbors_want_a_frozen_backbone(pretrained: str) -> None:
    with pytest.raises(UserError, match=r"model\.freeze to backbone"):
        ModelParams("cnn", pretrained, head="knn", cnn=CNN)
