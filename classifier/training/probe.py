"""Last layers that are fitted to the embeddings of a frozen backbone.

The linear probe: multinomial logistic regression.
Kornblith et al., "Do better ImageNet models transfer better?", 2019, A.4:
https://arxiv.org/abs/1805.08974: L-BFGS, and a strength that the validation split chooses.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.core.softmax import cross_entropy
from classifier.core.types import Float32Array, Float64Array, Int64Array
from classifier.dataset.prepared import PreparedData
from classifier.models.kept_embeddings import KeptEmbeddings
from classifier.models.neighbors import NearestNeighbors
from classifier.models.registry import MOST_NEIGHBORS, ModelParams
from classifier.training.distributed import Ranks
from classifier.training.features import train_embeddings
from classifier.training.params import TrainParams
from classifier.training.record import Record, Trained
from classifier.training.session import Session
from classifier.training.validation import Monitor, validation_scores

# Of scikit-learn's C, the inverse of the penalty on weights of standardized embeddings.
STRENGTHS = tuple(10.0**power for power in range(-3, 3))
VOTES = (1, 2, 5, 10, 20, 50, 100)  # neighbors
SCORED = 5000  # train images whose neighbors are looked for
Layer = tuple[Float64Array, Float64Array]
_ABSENT = -30.0  # logit, below the least, of a class that has no training image


@dataclass(frozen=True)
class Features:
    """Embeddings of the train and val splits, float32 [N, D]: inputs of the last layer."""

    train: Float32Array
    val: Float32Array


def train_head(
    params: TrainParams,
    model: ModelParams,
    augment: AugmentParams,
    data: PreparedData,
    folder: Path,
    say: Callable[[str], None] = print,
) -> Trained:
    """Train nothing but the last layer, by `fit_head` or `hold_neighbors`, on pretrained weights.

    Raises:
        UserError: parameters do not fit the data, each other or the machine.
    """
    session = Session(params, model, augment, data, Ranks())
    logistic = model.head == "logistic"
    heads = "logistic regression on" if logistic else "a vote of neighbors among"
    counts = ", monitor, class_weights and sampler count" if logistic else " and monitor count"
    rest = "feature_views, seed and batch_size count as well" if _views(params) > 1 else ""
    say(
        f"{session.device.type}, {session.numerics}; {heads} the embeddings of a frozen backbone:"
        f" of train only numerics{counts}{f'; {rest}' if rest else ', of augment nothing'}"
    )
    fit = fit_head if logistic else hold_neighbors
    record, logits = fit(session, data, augment, folder, say)
    return session.result(session.network, record, logits, data.labels("val"))


def fit_head(
    session: Session,
    data: PreparedData,
    augment: AugmentParams,
    folder: Path,
    say: Callable[[str], None] = print,
) -> tuple[Record, Float32Array]:
    """Give the session's network the last layer that suits what the others give now.

    Args:
        augment: of the views of ``train.feature_views``.
        folder: where embeddings are kept from one run to the next.

    Returns:
        What `fitted` found, and the logits of the val split, float32 [N, K].

    Raises:
        UserError: the run has several processes, or the train split a single class.
    """
    found, labels, val_labels = _features(session, data, augment, folder, say)
    weights = _image_weights(session, labels)
    last = session.network.last_linear
    monitor, classes = session.params.monitor, len(session.spec.classes)
    record, (weight, bias) = fitted(
        found, labels, val_labels, classes, monitor, weights, last.bias is not None, say
    )
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(weight))
        if last.bias is not None:
            last.bias.copy_(torch.from_numpy(bias))
    return record, _logits(found.val, weight, bias).astype(np.float32)


def hold_neighbors(
    session: Session,
    data: PreparedData,
    augment: AugmentParams,
    folder: Path,
    say: Callable[[str], None] = print,
) -> tuple[Record, Float32Array]:
    """Give the session's network `NearestNeighbors` as its last layer, and its spec their number.

    One row of the history for each of VOTES that there are images for. The scores of the train
    split are those of up to SCORED of its images, each without its own vote.

    Returns:
        The record of the numbers that were tried, and the logits of the val split, float32 [N, K].

    Raises:
        UserError: the run has several processes, or more train images than a model file may hold.
    """
    found, labels, val_labels = _features(session, data, augment, folder, say)
    count, width = found.train.shape
    if count > MOST_NEIGHBORS:
        raise UserError(
            f"model.head: knn holds {MOST_NEIGHBORS:,} embeddings at most, and train.feature_views"
            f" times the train split are {count:,}: set it to logistic."
        )
    votes = [number for number in VOTES if number < count] or [1]
    layer = NearestNeighbors(width, count, len(session.spec.classes), votes[-1])
    layer.hold(torch.from_numpy(found.train), torch.from_numpy(labels))
    own = torch.from_numpy(np.unique(np.linspace(0, count - 1, SCORED).astype(int)))
    with torch.no_grad():
        val = layer.nearest(torch.from_numpy(found.val), votes[-1])
        wide = min(votes[-1] + _views(session.params), count)
        cosines, rows = layer.nearest(torch.from_numpy(found.train)[own], wide)
    # An image, and each view of it, would answer for itself.
    images = count // _views(session.params)
    itself = (rows % images == own.unsqueeze(1) % images).int()
    first = itself.argsort(dim=1, stable=True)
    train = cosines.gather(1, first), rows.gather(1, first)

    record, logits, best = Record(session.params.monitor), np.zeros((0, 0), np.float32), votes[0]
    for number in votes:
        given = layer.vote(train[0][:, :number], train[1][:, :number]).numpy().astype(np.float64)
        of_val = layer.vote(val[0][:, :number], val[1][:, :number]).numpy()
        scores = validation_scores(of_val, val_labels)
        right = float((given.argmax(1) == labels[own]).mean())
        if record.add(float(cross_entropy(given, labels[own]).mean()), right, scores, 0.0):
            best, logits = number, of_val
        record.history[-1]["neighbors"] = number
    row = record.history[record.best_epoch - 1]
    say(
        f"{best} neighbors vote, of {votes[0]} to {votes[-1]}: validation loss"
        f" {row['val_loss']:.4f}, accuracy {row['val_accuracy']:.4f}"
    )
    layer.neighbors = best
    session.network.replace_last_layer(layer)
    args = {**session.spec.args, "neighbors": {"images": count, "vote": best}}
    session.spec = replace(session.spec, args=args)
    return record, logits


def _views(params: TrainParams) -> int:
    return params.feature_views or 1


def _features(
    session: Session,
    data: PreparedData,
    augment: AugmentParams,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[Features, Int64Array, Int64Array]:
    """Embeddings and labels: of each view of the train split, one after the other, and of val."""
    if session.ranks.size > 1:
        raise UserError(
            f"train.processes: set it to 1, for model.head: {session.model.head} has one process."
        )
    network = session.network
    kept = KeptEmbeddings(folder, network, session.spec, data, session.device, say)
    train = train_embeddings(session, kept, augment)
    val = kept.of("val", test_time_augmentation=network.test_time_augmentation)
    labels = np.tile(np.array(session.labels), len(train))
    return Features(np.concatenate(train), val), labels, np.array(data.labels("val"))


def fitted(
    found: Features,
    labels: Int64Array,
    val_labels: Int64Array,
    classes: int,
    monitor: Monitor = "accuracy",
    weights: Float64Array | None = None,
    offset: bool = True,
    say: Callable[[str], None] = print,
) -> tuple[Record, Layer]:
    """The linear layer that fits the train split's embeddings best, judged on the val split.

    One fit for each of STRENGTHS, from the strictest on, each a row of the history; the best is the
    one with the best ``monitor``. Embeddings are standardized by the mean of each component
    and one deviation, which the layer then takes in. Nothing is drawn at random.

    Args:
        labels: [N] of the train split; ``val_labels`` those of the val split.
        weights: [N] of the train split's images in the loss; None: all the same.
        offset: whether the layer adds a number to each class.

    Returns:
        The record of the fits, and the best one's weights [K, D] and offsets [K].

    Raises:
        UserError: the train split has a single class.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    if len(present) < 2:
        raise UserError("model.head: logistic needs training images of two classes at least.")
    mean = found.train.mean(0, dtype=np.float64) * offset
    # One for all: a component that hardly varies would get weights that magnify its noise, which
    # training on from here does not survive.
    std = float(found.train.std(dtype=np.float64)) or 1.0
    inputs = (found.train - mean) / std
    record, kept = Record(monitor), (np.zeros((0, 0)), np.zeros(0))
    model = LogisticRegression(max_iter=1000, fit_intercept=offset, warm_start=True)
    for strength in STRENGTHS:
        model.C = strength
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that needs more steps is scored as it is
            model.fit(inputs, labels, sample_weight=weights)
        layer = _layer(model.coef_ / std, model.intercept_, mean, present, classes)
        train, val = (_logits(part, *layer) for part in (found.train, found.val))
        losses = cross_entropy(train, labels)
        scores = validation_scores(val, val_labels)
        if record.add(float(losses.mean()), float((train.argmax(1) == labels).mean()), scores, 0.0):
            kept = layer
        record.history[-1]["strength"] = strength
    best = record.history[record.best_epoch - 1]
    say(
        f"strength {best['strength']:g} of {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}: validation loss"
        f" {best['val_loss']:.4f}, accuracy {best['val_accuracy']:.4f}"
    )
    return record, kept


def _image_weights(session: Session, labels: np.ndarray) -> Float64Array | None:
    weights = np.ones(len(labels))
    if session.class_weight is not None:
        weights = session.class_weight.double().cpu().numpy()[labels]
    if session.params.sampler == "balanced":
        weights = weights / np.bincount(labels)[labels]
        weights = weights / weights.mean()
    return None if (weights == 1).all() else weights


def _layer(
    coefficients: Float64Array,
    intercept: Float64Array,
    mean: Float64Array,
    present: np.ndarray,
    classes: int,
) -> Layer:
    """Weights [K, D] and offsets [K] of a linear layer on embeddings that are not standardized."""
    intercept = intercept - coefficients @ mean
    if len(present) == 2:  # one row, of the second class against the first
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight = np.zeros((classes, coefficients.shape[1]))
    bias = np.full(classes, intercept.min() + _ABSENT)
    weight[present], bias[present] = coefficients, intercept
    return weight, bias


def _logits(inputs: Float32Array, weight: Float64Array, bias: Float64Array) -> Float64Array:
    logits: Float64Array = inputs.astype(np.float64) @ weight.T + bias
    return logits
