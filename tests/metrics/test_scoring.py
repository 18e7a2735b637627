"""Every figure against scikit-learn, on ordinary and on awkward sets."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn import metrics

from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, Scores, headline, score

pytestmark = pytest.mark.filterwarnings("ignore:y_pred contains classes")

PARAMS = EvaluateParams(batch_size=64, top_k=3, seed=0, bootstrap_samples=200)
EXACT = {"rel": 1e-12, "abs": 1e-15}


def some_outcomes(
    count: int = 500, classes: int = 7, seed: int = 0, temperature: float = 1.5
) -> Outcomes:
    """Predictions that are mostly right, with ties among the logits and uneven classes."""
    generator = np.random.default_rng(seed)
    share = generator.dirichlet(np.full(classes, 2.0))
    labels = generator.choice(classes, count, p=share)
    logits = generator.normal(size=(count, classes)).astype(np.float32)
    logits[np.arange(count), labels] += 1.5
    logits[: count // 4, 1] = logits[: count // 4, 0]  # ties between classes
    logits[-(count // 4) :] = logits[: count // 4]  # and, for ranking, between images
    return Outcomes(logits, labels, temperature)


def reference(outcomes: Outcomes) -> dict[str, float]:
    """What scikit-learn says; macro ranking figures over the classes that occur."""
    actual, predicted = outcomes.labels, outcomes.predicted
    shares = softmax(np.float64(outcomes.logits), axis=1)
    numbers = range(outcomes.classes)
    occurring = np.unique(actual)
    found = {
        "accuracy": metrics.accuracy_score(actual, predicted),
        "loss": metrics.log_loss(actual, shares, labels=numbers),
        "balanced_accuracy": metrics.balanced_accuracy_score(actual, predicted),
        "mcc": metrics.matthews_corrcoef(actual, predicted),
        "kappa": metrics.cohen_kappa_score(actual, predicted),
        "roc_auc": np.mean([metrics.roc_auc_score(actual == k, shares[:, k]) for k in occurring]),
        "average_precision": np.mean(
            [metrics.average_precision_score(actual == k, shares[:, k]) for k in occurring]
        ),
    }
    for average in ("macro", "weighted"):
        names = [f"{name}_{average}" for name in ("precision", "recall", "f1")]
        values = metrics.precision_recall_fscore_support(
            actual, predicted, average=average, zero_division=0
        )
        found |= dict(zip(names, values, strict=False))
    if outcomes.classes > 3:
        found["top3_accuracy"] = metrics.top_k_accuracy_score(
            actual, outcomes.logits, k=3, labels=numbers
        )
    return found


@pytest.mark.parametrize(("count", "classes"), [(500, 7), (40, 2), (2000, 100), (30, 25)])
def test_figures_are_those_of_scikit_learn(count: int, classes: int) -> None:
    outcomes = some_outcomes(count, classes)
    found = score(outcomes, PARAMS).values
    expected = reference(outcomes)
    assert set(found) == {*expected, "ece", "ece_calibrated", "aurc"}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, **EXACT), name


def test_figures_of_each_class_are_those_of_scikit_learn() -> None:
    outcomes = some_outcomes()
    found = score(outcomes, PARAMS).class_values
    shares = softmax(np.float64(outcomes.logits), axis=1)
    values = metrics.precision_recall_fscore_support(outcomes.labels, outcomes.predicted)
    for name, value in zip(("precision", "recall", "f1"), values, strict=False):
        assert found[f"class_{name}"] == pytest.approx(value, **EXACT)
    for k in range(outcomes.classes):
        positive = outcomes.labels == k
        auc = metrics.roc_auc_score(positive, shares[:, k])
        area = metrics.average_precision_score(positive, shares[:, k])
        assert found["class_roc_auc"][k] == pytest.approx(auc, **EXACT)
        assert found["class_average_precision"][k] == pytest.approx(area, **EXACT)


@pytest.mark.parametrize("classes", [2, 5])
def test_intervals_are_percentiles_over_resampled_images(classes: int) -> None:
    """The vectorized resamples give what scoring each drawn set of images by itself gives."""
    outcomes = some_outcomes(60, classes)
    params = EvaluateParams(batch_size=64, top_k=3, seed=4, bootstrap_samples=40)
    found = score(outcomes, params)
    generator = np.random.default_rng(4)
    drawn = []
    for _ in range(40):
        rows = generator.integers(0, 60, 60)
        drawn.append(reference(Outcomes(outcomes.logits[rows], outcomes.labels[rows])))
    for name in drawn[0]:
        values = np.array([figures[name] for figures in drawn])
        bounds = np.quantile(values, [0.025, 0.975])
        if name == "average_precision":
            bounds = bounds - (values.mean() - found.values[name])
        assert found.bounds[name] == pytest.approx(tuple(bounds), rel=1e-5), name


def test_interval_holds_the_figure_and_narrows_with_more_images() -> None:
    few, many = (score(some_outcomes(count), PARAMS) for count in (100, 10_000))
    for scores in (few, many):
        low, high = scores.bounds["accuracy"]
        assert low < scores.values["accuracy"] < high
    assert _width(many) < 0.2 * _width(few)


def _width(scores: Scores) -> float:
    low, high = scores.bounds["accuracy"]
    return high - low


def test_a_class_without_test_images() -> None:
    outcomes = some_outcomes(80, 6)
    kept = outcomes.labels != 3
    outcomes = Outcomes(outcomes.logits[kept], outcomes.labels[kept])
    found = score(outcomes, PARAMS)
    assert 3 in outcomes.predicted
    assert np.isnan(found.class_values["class_recall"][3])
    assert np.isnan(found.class_bounds["class_recall"]).any(axis=0).tolist() == [
        k == 3 for k in range(6)
    ]
    assert found.class_values["class_f1"][3] == 0
    expected = reference(outcomes)
    for name, value in expected.items():
        assert found.values[name] == pytest.approx(value, **EXACT), name


def test_one_image() -> None:
    found = score(Outcomes(np.array([[2.0, 1.0]], np.float32), np.array([0])), PARAMS)
    assert found.values["accuracy"] == 1
    low, high = found.bounds["accuracy"]
    assert low == pytest.approx(0.2065, abs=1e-4)  # one image says next to nothing
    assert high == 1
    assert found.values["mcc"] == 0  # as scikit-learn has it
    assert np.isnan(found.values["roc_auc"])


def test_all_right() -> None:
    labels = np.arange(30) % 3
    found = score(Outcomes(20 * np.eye(3, dtype=np.float32)[labels], labels), PARAMS)
    for name in ("accuracy", "f1_macro", "mcc", "kappa", "roc_auc", "average_precision"):
        assert found.values[name] == 1, name
    assert found.values["ece"] == pytest.approx(0, abs=1e-7)
    # Resamples of what is all right are all right: their percentiles would claim certainty.
    wilson = binomtest(30, 30).proportion_ci(method="wilson")
    assert found.bounds["accuracy"] == pytest.approx((wilson.low, 1))
    wilson = binomtest(10, 10).proportion_ci(method="wilson")
    for name in ("class_precision", "class_recall"):
        low, high = found.class_bounds[name]
        assert low == pytest.approx(np.full(3, wilson.low))
        assert (high == 1).all()
    f1 = 2 * wilson.low / (1 + wilson.low)
    assert found.class_bounds["class_f1"][0] == pytest.approx(np.full(3, f1))
    for name in ("mcc", "roc_auc", "f1_macro"):
        assert np.isnan(found.bounds[name]).all(), name


def test_nothing_that_is_all_right_is_called_certain() -> None:
    labels = np.arange(359) % 10  # as many as make sums of shares round differently
    found = score(Outcomes(20 * np.eye(10, dtype=np.float32)[labels], labels), PARAMS)
    for name, value in found.values.items():
        low, _ = found.bounds[name]
        assert value < 1 or np.isnan(low) or low < 0.995, name
    assert found.bounds["recall_weighted"] == found.bounds["accuracy"]
    assert found.text("f1_weighted") == found.text("f1_macro") == "1.0000"
    assert found.text("accuracy") == f"1.0000 ({found.bounds['accuracy'][0]:.4f} to 1.0000)"


def test_the_same_seed_gives_the_same_intervals() -> None:
    outcomes = some_outcomes(200)
    assert score(outcomes, PARAMS).bounds == score(outcomes, PARAMS).bounds


def test_a_thousand_classes() -> None:
    found = score(some_outcomes(3000, 1000), PARAMS)
    assert found.ranking_samples == 200
    low, high = found.bounds["roc_auc"]
    assert low <= found.values["roc_auc"] <= high


def test_a_figure_lies_within_its_interval_with_few_images_a_class() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(600) % 60
    logits = generator.normal(size=(600, 60)).astype(np.float32)
    logits[np.arange(600), labels] += 0.5
    found = score(Outcomes(logits, labels), PARAMS)
    for name, value in found.values.items():
        low, high = found.bounds[name]
        assert low <= value <= high, name
    low, high = found.class_bounds["class_average_precision"]
    assert (low <= found.class_values["class_average_precision"]).all()


def test_headline_holds_few_figures() -> None:
    scores = score(some_outcomes(), PARAMS)
    found = headline(scores)
    assert set(found) == {
        "test_accuracy", "test_accuracy_interval", "test_loss",
        "precision_macro", "recall_macro", "f1_macro", "f1_weighted",
    }  # fmt: skip
    low, high = found.pop("test_accuracy_interval")
    assert all(isinstance(value, float) for value in found.values())
    assert low < found["test_accuracy"] < high


def test_without_a_fitted_temperature_nothing_is_called_calibrated() -> None:
    outcomes = some_outcomes()
    found = score(Outcomes(outcomes.logits, outcomes.labels), PARAMS)
    assert "ece_calibrated" not in found.values
    assert "ece_calibrated" not in found.bounds
    assert found.values["ece"] == score(outcomes, PARAMS).values["ece"]


def test_top_k_is_left_out_where_it_says_nothing() -> None:
    assert "top3_accuracy" not in score(some_outcomes(50, 3), PARAMS).values
