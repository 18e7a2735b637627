"""Combine the saved logits of several models into one prediction.

Averaging networks that were trained from different seeds: Lakshminarayanan et al. 2017,
https://arxiv.org/abs/1612.01474. Stacking: Wolpert 1992, Stacked generalization.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from tqdm import tqdm

from classifier.core.errors import UserError
from classifier.core.softmax import cross_entropy
from classifier.core.types import Float32Array, Float64Array, FloatArray, IntegerArray
from classifier.experiments.revisions import Predictions, same_images
from classifier.metrics.stored_logits import WHOLE_CLASSES, stored
from classifier.models.temperature import fit_temperature

if TYPE_CHECKING:
    from torch import nn

    from classifier.metrics.scoring import EvaluateParams

Method = Literal["mean", "weighted", "stacking"]

# A sure network can say log p = -100, and such a value would rule a linear function of them.
FLOOR = -20.0
_CHUNK = 1 << 20  # logits of each member that are combined together
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of stacking: scikit-learn's C, the smaller the tighter


@dataclass(frozen=True)
class Combination:
    """How M models of K classes are combined.

    mean and weighted: ``weights`` [M], summing to 1, of the probabilities. stacking: a linear
    function of all log-probabilities, ``weights`` [K, M*K] and ``bias`` [K].
    """

    method: Method
    weights: Float64Array
    bias: Float64Array | None = None

    def __call__(self, members: Sequence[FloatArray]) -> FloatArray:
        """Logits of the members, each [N, K], to those of the ensemble, [N, K], as they are stored.

        Those of a mean are log-probabilities.
        """
        count, classes = members[0].shape
        step = max(1, _CHUNK // classes)
        starts = range(0, max(1, count), step)
        parts = [[logits[start : start + step] for logits in members] for start in starts]
        return np.concatenate([stored(self._combined(part)) for part in parts])

    def _combined(self, members: Sequence[FloatArray]) -> Float32Array:
        logs = [log_probabilities(logits) for logits in members]
        if self.bias is not None:
            return np.asarray(_features(logs) @ self.weights.T + self.bias, np.float32)
        mixed = sum(w * np.exp(log) for w, log in zip(self.weights, logs, strict=True))
        return np.asarray(np.log(np.maximum(mixed, np.finfo(np.float32).tiny)), np.float32)


def combine(method: Method, val: Sequence[Predictions], members: int) -> Combination:
    """Fit what the method has to fit, on validation alone.

    Args:
        method: mean needs no validation predictions.
        val: validation predictions of every member, for the same images.
        members: how many there are.

    Raises:
        UserError: the members were validated on different images, or stacking lacks a class or has
            more than ``WHOLE_CLASSES``.
    """
    if method == "mean":
        return Combination("mean", np.full(members, 1 / members))
    same_images(val)
    labels = val[0].labels
    if method == "weighted":
        own = np.exp(-np.stack([cross_entropy(part.logits, labels) for part in val], axis=1))
        return Combination("weighted", fit_weights(own))
    if len(val[0].classes) > WHOLE_CLASSES:
        raise UserError(
            f"stacking fits a weight for each pair of classes, and {len(val[0].classes):,} are too "
            "many: choose weighted or mean."
        )
    return fit_stacking([log_probabilities(part.logits) for part in val], labels)


def fit_weights(own: Float64Array) -> Float64Array:
    """The weights, summing to 1, of the mixture of probabilities with the least cross-entropy.

    Expectation-maximization (Dempster, Laird and Rubin 1977), which for mixture weights alone is
    a multiplication, stays on the simplex and converges to the one optimum.

    Args:
        own: [N, M] probability that each member gives the label of each image.
    """
    own = np.maximum(own, np.finfo(np.float64).tiny)
    weights = np.full(own.shape[1], 1 / own.shape[1])
    for _ in range(10_000):
        fraction = own * weights
        following = (fraction / fraction.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(following - weights).max() < 1e-9:
            break
        weights = following
    found: Float64Array = weights / weights.sum()
    return found


def fit_stacking(logs: Sequence[Float64Array], labels: IntegerArray) -> Combination:
    """Multinomial logistic regression on all log-probabilities, its strength cross-validated."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    features, classes = _features(logs), logs[0].shape[1]
    fewest = int(np.bincount(labels, minlength=classes).min())
    if fewest < 2:
        raise UserError(
            "stacking needs at least 2 validation images of every class: choose weighted or "
            "mean, or raise split.val_fraction."
        )
    folds = StratifiedKFold(min(3, fewest), shuffle=True, random_state=0)
    scores = [
        cross_val_score(
            LogisticRegression(C=c, max_iter=1000),
            features,
            labels,
            cv=folds,
            scoring="neg_log_loss",
        ).mean()
        for c in tqdm(STRENGTHS, desc="stacking", leave=False, disable=None)
    ]
    model = LogisticRegression(C=STRENGTHS[int(np.argmax(scores))], max_iter=1000)
    model.fit(features, labels)
    weights, bias = model.coef_, model.intercept_
    if classes == 2:  # scikit-learn keeps the one difference
        weights = np.concatenate([-weights, weights]) / 2
        bias = np.concatenate([-bias, bias]) / 2
    return Combination("stacking", np.asarray(weights, float), np.asarray(bias, float))


def _features(logs: Sequence[Float64Array]) -> Float64Array:
    """[N, M*K] what stacking looks at."""
    found: Float64Array = np.maximum(np.concatenate(logs, axis=1), FLOOR)
    return found


def log_probabilities(logits: FloatArray) -> Float64Array:
    """[N, K] logits to the logarithms of their softmax."""
    from scipy.special import log_softmax

    found: Float64Array = log_softmax(np.asarray(logits, np.float64), axis=1)
    return found


def save_model(
    path: Path,
    members: Sequence[Path],
    combination: Combination,
    val: Sequence[Predictions],
    params: "EvaluateParams | None" = None,
) -> None:
    """Write one model file with every member in it, which predict, export and serve take.

    Args:
        path: where to.
        members: the model files.
        combination: what ``combine`` found.
        val: validation predictions of every member for the temperature; empty: it stays 1.
        params: the thresholds that are to be chosen on validation; None: none.

    Raises:
        UserError: the members differ in classes, or in how they want images prepared, or
            validation cannot give the thresholds.
    """
    import torch

    from classifier.evaluation.decide import decide
    from classifier.metrics.outcomes import Outcomes
    from classifier.models import model_file
    from classifier.models.networks.ensemble import EnsembleParams, Member, ensemble
    from classifier.models.spec import ModelSpec

    loaded = [model_file.load(member) for member in members]
    specs = [spec for _, spec in loaded]
    for spec, member in zip(specs, members, strict=True):
        for key in ("classes", "channels", "image_size", "resize", "value_range"):
            if getattr(spec, key) != getattr(specs[0], key):
                raise UserError(
                    f"the model in {member} has another {key} than the first: one file can only "
                    "hold models that take the same images, so train them with the same "
                    "preprocess parameters."
                )
    settings = EnsembleParams(
        combination.method,
        tuple(Member(spec.name, spec.args, spec.mean, spec.std) for spec in specs),
        FLOOR,
    )
    classes = len(specs[0].classes)
    network = ensemble(settings, [part for part, _ in loaded], classes)
    _set_head(network.head, combination)
    temperature, held_out = 1.0, None
    if val:
        logits, labels = combination([part.logits for part in val]), val[0].labels
        temperature = fit_temperature(logits, labels)
        held_out = Outcomes(logits, labels, temperature)
    spec = ModelSpec(
        name="ensemble",
        args=asdict(settings),
        classes=specs[0].classes,
        channels=specs[0].channels,
        image_size=specs[0].image_size,
        resize=specs[0].resize,
        mean=(0.0,) * specs[0].channels,  # each member standardizes for itself
        std=(1.0,) * specs[0].channels,
        temperature=temperature,
        value_range=specs[0].value_range,
        extra={"torch": torch.__version__},
        decision=decide(held_out, specs[0].classes, params) if params else None,
    )
    model_file.save(path, network, spec)


def _set_head(head: "nn.Module", combination: Combination) -> None:
    import torch

    state = {"weights": combination.weights}
    if combination.bias is not None:
        state = {"linear.weight": combination.weights, "linear.bias": combination.bias}
    head.load_state_dict({name: torch.tensor(value).float() for name, value in state.items()})
