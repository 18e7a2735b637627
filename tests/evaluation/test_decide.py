"""Thresholds and *not sure* as evaluate chooses and measures them; wishes that cannot be met."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from classifier.core.errors import UserError
from classifier.evaluation.decide import answers, decide, measure, positive_label
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, score

PARAMS = EvaluateParams(batch_size=64, top_k=5, seed=0, bootstrap_samples=50)
NAMES = [f"class{k}" for k in range(10)]


def wanted(**values: Any) -> EvaluateParams:
    return dataclasses.replace(PARAMS, **values)


def drawn(count: int, classes: int, seed: int = 0, rare: float = 0.1) -> Outcomes:
    """Of two classes the second is rare."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    if classes == 2:
        labels = (generator.random(count) < rare).astype(np.int64)
    logits = generator.normal(size=(count, classes)).astype(np.float32)
    logits[np.arange(count), labels] += 2.5
    return Outcomes(1.5 * logits, labels, 1.2)


def test_the_positive_class_is_the_second_or_the_one_that_is_named() -> None:
    assert positive_label(["yes", "no"], PARAMS) == 1
    assert positive_label(["yes", "no"], wanted(positive_class="yes")) == 0
    assert positive_label(["0", "1"], wanted(positive_class=0)) == 0
    assert positive_label(NAMES, PARAMS) is None
    with pytest.raises(UserError, match=r"positive_class is 'yess'.*did you mean 'yes'"):
        positive_label(["yes", "no"], wanted(positive_class="yess"))
    with pytest.raises(UserError, match=r"there are 10 classes: it is for two"):
        positive_label(NAMES, wanted(positive_class="class1"))


@pytest.mark.parametrize("text", ["max_f1", "youden", "recall>=0.95", "precision>=0.8",
                                  "cost(fp=1,fn=10)", 0.3])  # fmt: skip
def test_two_classes_have_the_figures_of_scikit_learn(text: str | float) -> None:
    val, test, params = drawn(800, 2), drawn(1500, 2, 1), wanted(threshold=text)
    found = decide(val, NAMES[:2], params)
    assert found is not None
    assert found.positive_class == "class1"
    measured = measure({"test": test, "val": val}, score(test, params), found, NAMES[:2], params)
    point = measured.headline["positive"]
    probability = test.calibrated_probability(1)
    called, actual = probability >= point["threshold"], test.labels == 1
    assert point["threshold"] == found.thresholds["class1"]
    expected = {
        "precision": metrics.precision_score(actual, called),
        "recall": metrics.recall_score(actual, called),
        "f1": metrics.f1_score(actual, called),
        "specificity": metrics.recall_score(~actual, ~called),
        "roc_auc": metrics.roc_auc_score(actual, probability),
        "average_precision": metrics.average_precision_score(actual, probability),
    }
    for name, value in expected.items():
        assert point[name] == pytest.approx(value, abs=1e-5), name
        assert measured.details["positive"][f"{name}_low"] <= value
        assert measured.details["positive"][f"{name}_high"] >= value
    assert point["false_positive_rate"] == pytest.approx(1 - point["specificity"])
    said = answers(test, found, NAMES[:2])
    assert (said.labels == called).all()
    assert measured.headline["answers"]["accuracy"] == pytest.approx((called == actual).mean())
    assert "Positive class 'class1'" in measured.lines()[0]


def test_without_a_wish_the_positive_class_is_measured_at_a_half() -> None:
    val, test = drawn(300, 2), drawn(400, 2, 1)
    assert decide(val, NAMES[:2], PARAMS) is None
    found = measure({"test": test}, score(test, PARAMS), None, NAMES[:2], PARAMS)
    assert found.headline["positive"]["threshold"] == 0.5
    assert "answers" not in found.headline
    assert found.tables["coverage"].empty
    many = drawn(400, 10)
    found = measure({"test": many}, score(many, PARAMS), None, NAMES, PARAMS)
    assert found.headline == {}
    assert found.tables["operating_points"].empty


def test_more_classes_have_a_threshold_each() -> None:
    val, test, params = drawn(2000, 10), drawn(1000, 10, 1), wanted(threshold="precision>=0.9")
    found = decide(val, NAMES, params)
    assert found is not None
    assert {*found.thresholds} == {*NAMES}
    measured = measure({"test": test, "val": val}, score(test, params), found, NAMES, params)
    points = measured.tables["operating_points"]
    for k, name in enumerate(NAMES):
        called = val.calibrated_probability(k) >= found.thresholds[name]
        assert (val.labels[called] == k).mean() >= 0.9
        called = test.calibrated_probability(k) >= found.thresholds[name]
        assert points["recall"][k] == pytest.approx(called[test.labels == k].mean(), abs=1e-6)
    said = answers(test, found, NAMES)
    assert 0 < said.sure.sum() < 1000
    right = said.labels == test.labels
    assert measured.headline["answers"]["coverage"] == pytest.approx(said.sure.mean())
    assert measured.headline["answers"]["accuracy"] == pytest.approx(right[said.sure].mean())


def test_not_sure_is_found_on_validation_and_measured_on_test() -> None:
    val, test, params = drawn(2000, 10), drawn(5000, 10, 1), wanted(target_accuracy=0.9)
    found = decide(val, NAMES, params)
    assert found is not None
    assert (found.target_accuracy, found.certainty) == (0.9, 0.95)
    measured = measure({"test": test, "val": val}, score(test, params), found, NAMES, params)
    coverage, accuracy = measured.headline["answers"].values()
    confident = test.calibrated_confidence >= found.not_sure_below
    assert coverage == pytest.approx(confident.mean())
    assert accuracy == pytest.approx(test.right[confident].mean())
    assert accuracy >= 0.9
    assert 0.3 < coverage < 1
    table = measured.tables["coverage"].set_index("target")
    assert table.index.tolist() == [0.9, 0.95, 0.98, 0.99, 0.995]
    assert table["not_sure_below"][0.9] == found.not_sure_below
    assert table["coverage"].dropna().is_monotonic_decreasing
    risk = measured.plots["risk_coverage"]["risk"]
    assert risk.iloc[-1] == pytest.approx((~test.right).mean())
    assert measured.aurc[0] == pytest.approx(risk.mean(), abs=0.01)


def test_thresholds_have_the_first_word_and_not_sure_the_last() -> None:
    val, test = drawn(3000, 2), drawn(3000, 2, 1)
    params = wanted(threshold="recall>=0.99", target_accuracy=0.95)
    found = decide(val, NAMES[:2], params)
    assert found is not None
    said = answers(test, found, NAMES[:2])
    called = test.calibrated_probability(1) >= found.thresholds["class1"]
    assert (said.labels == called).all()
    own = np.where(called, test.calibrated_probability(1), test.calibrated_probability(0))
    assert (said.sure == (own >= found.not_sure_below)).all()
    assert (said.labels == test.labels)[said.sure].mean() >= 0.95


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"threshold": "precision>=1"}, r"class 'class1' satisfies: the highest precision on "
         r"validation is 0\.\d+, with a recall of"),
        ({"target_accuracy": 0.99}, r"validation cannot show with a probability of 0\.95.*: 0\.\d+ "
         r"is the most that it shows\. It takes at least 299 images, all of them right, and there "
         r"are 250"),
    ],
)  # fmt: skip
def test_what_validation_cannot_give_is_said_with_what_it_can(
    wish: dict[str, Any], sentence: str
) -> None:
    val = drawn(250, 2)
    val.logits[:, 1] = np.where(np.arange(250) == 0, 50, val.logits[:, 1])  # the surest is wrong
    with pytest.raises(UserError, match=sentence):
        decide(val, NAMES[:2], wanted(**wish))
    with pytest.raises(UserError, match="no validation images to choose by: set split"):
        decide(None, NAMES[:2], wanted(**wish))
    assert decide(None, NAMES[:2], wanted(threshold=0.2)) is not None


def test_a_class_without_validation_images_is_named() -> None:
    val = drawn(250, 2, rare=0)
    with pytest.raises(UserError, match="class 'class1' satisfies: validation has none of this"):
        decide(val, NAMES[:2], wanted(threshold="max_f1"))


def test_a_class_must_not_be_called_not_sure() -> None:
    with pytest.raises(UserError, match="rename it"):
        decide(drawn(250, 2), ["sure", "not sure"], wanted(threshold=0.2))
    assert decide(drawn(250, 2), ["sure", "not sure"], PARAMS) is None
