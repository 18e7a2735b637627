"""Find on validation how answers follow from probabilities, and measure it on test."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from classifier.core.errors import UserError, suggestion
from classifier.core.softmax import softmax
from classifier.metrics import selective, thresholds
from classifier.metrics.bootstrap import Sampling
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, Scores
from classifier.models.decision import NOT_SURE, Answers, Decision

TARGETS = (0.95, 0.98, 0.99, 0.995)  # accuracies whose coverage is reported
COVERAGE = ("target", "not_sure_below", "coverage", "coverage_low", "coverage_high", "accuracy",
            "accuracy_low", "accuracy_high")  # fmt: skip
CURVE_POINTS = 101
_CHUNK = 1 << 22  # probabilities held at a time


def positive_label(classes: Sequence[str], params: EvaluateParams) -> int | None:
    """The number of the positive class; None where there are more or fewer than two classes.

    Raises:
        UserError: ``evaluate.positive_class`` is none of the two, or there are not two.
    """
    name = None if params.positive_class is None else str(params.positive_class)
    if len(classes) != 2:
        if name is not None:
            raise UserError(
                f"evaluate.positive_class is {name!r}, and there are {len(classes)} classes: it is "
                "for two, so set it to null."
            )
        return None
    if name is None:
        return 1
    if name not in classes:
        raise UserError(
            f"evaluate.positive_class is {name!r}, which is not a class{suggestion(name, classes)}."
        )
    return classes.index(name)


def answers(outcomes: Outcomes, decision: Decision | None, classes: Sequence[str]) -> Answers:
    """What is said of the images of a split, in constant memory beside its logits."""
    if decision is None or not decision.thresholds:
        confidence = outcomes.calibrated_confidence
        below = decision.not_sure_below if decision else 0.0
        every = np.ones(len(confidence), bool)
        return Answers(outcomes.predicted, confidence, confidence >= below, every)
    step = max(1, _CHUNK // outcomes.classes)
    parts = [
        decision.answers(
            softmax(
                np.asarray(outcomes.logits[start : start + step], np.float64),
                outcomes.temperature or 1.0,
            ),
            classes,
        )
        for start in range(0, len(outcomes.labels), step)
    ]
    return Answers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def decide(val: Outcomes | None, classes: Sequence[str], params: EvaluateParams) -> Decision | None:
    """Choose the thresholds that ``params`` ask for; None where they ask for none.

    Raises:
        UserError: validation cannot satisfy a rule, or the target, and what it can.
    """
    positive = positive_label(classes, params)
    if params.threshold is None and params.target_accuracy is None:
        return None
    if NOT_SURE in classes:
        raise UserError(
            f"A class is called {NOT_SURE!r}, as are answers below a threshold: rename it, or set "
            "evaluate.threshold and evaluate.target_accuracy to null."
        )
    decision = Decision()
    if params.threshold is not None:
        rule = thresholds.rule(params.threshold)
        labels = range(len(classes)) if positive is None else [positive]
        decision = Decision(
            rule=rule.text,
            positive_class=None if positive is None else classes[positive],
            thresholds={classes[k]: _threshold(rule, val, k, classes) for k in labels},
        )
    if params.target_accuracy is None:
        return decision
    return dataclasses.replace(
        decision,
        not_sure_below=_sure_from(val, decision, classes, params),
        target_accuracy=params.target_accuracy,
        certainty=params.confidence,
    )


def _threshold(
    rule: thresholds.Rule, val: Outcomes | None, label: int, classes: Sequence[str]
) -> float:
    if rule.fixed is not None:
        return rule.fixed
    held_out = _validation(val, f"evaluate.threshold is {rule.text}")
    scores = held_out.calibrated_probability(label)
    try:
        return thresholds.threshold(rule, scores, held_out.labels == label)
    except thresholds.UnreachableError as reason:
        raise UserError(
            f"evaluate.threshold is {rule.text}, which no threshold of class {classes[label]!r} "
            f"satisfies: {reason}. Choose another rule, or enlarge the validation split."
        ) from None


def _sure_from(
    val: Outcomes | None, decision: Decision, classes: Sequence[str], params: EvaluateParams
) -> float:
    target, certainty = params.target_accuracy, params.confidence
    assert target is not None
    held_out = _validation(val, f"evaluate.target_accuracy is {target:g}")
    said = answers(held_out, decision, classes)
    confidence = said.confidence[said.sure]
    right = (said.labels == held_out.labels)[said.sure]
    found = selective.sure_from(confidence, right, target, certainty)
    if found is None:
        reached = selective.promisable(confidence, right, certainty)
        most = f"{reached:g} is the most that it shows" if reached else "it shows no other either"
        raise UserError(
            f"evaluate.target_accuracy is {target:g}, which validation cannot show with a "
            f"probability of {certainty:g} (evaluate.confidence): {most}. It takes at least "
            f"{selective.fewest(target, certainty):,} images, all of them right, and there are "
            f"{len(right):,}. Lower it, or enlarge the validation split."
        )
    return found


def _validation(val: Outcomes | None, wish: str) -> Outcomes:
    if val is None:
        raise UserError(
            f"{wish}, and there are no validation images to choose by: set split.val_fraction "
            "above 0."
        )
    if val.temperature is None:
        raise UserError(f"{wish}, and there are no calibrated probabilities to choose by.")
    return val


@dataclass(frozen=True)
class Measured:
    """What a decision comes to on the test images.

    ``headline`` goes to metrics/evaluate.json; ``details`` to metrics/details.json, as does
    ``aurc``, the area under the risk-coverage curve with its interval. ``tables`` are those of
    metrics/tables and ``plots`` those of metrics/plots, by name.
    """

    headline: Mapping[str, Any]
    details: Mapping[str, Any]
    aurc: selective.Interval
    tables: Mapping[str, pd.DataFrame]
    plots: Mapping[str, pd.DataFrame]

    def lines(self) -> list[str]:
        """The figures for a terminal, a line each."""
        found = []
        if point := self.headline.get("positive"):
            found.append(
                "Positive class {class!r} from a probability of {threshold:.4g} on: precision "
                "{precision:.4f}, recall {recall:.4f}.".format(**point)
            )
        if answered := self.headline.get("answers"):
            found.append(
                "Sure of {coverage:.2%} of the images, and right for {accuracy:.2%} of "
                "these.".format(**answered)
            )
        return found


def measure(
    outcomes: Mapping[str, Outcomes],
    scores: Scores,
    decision: Decision | None,
    classes: Sequence[str],
    params: EvaluateParams,
) -> Measured:
    """Measure operating points and answers on test, each figure with its interval.

    Of two classes without a threshold, the positive one is called from 0.5 on.

    Args:
        outcomes: of test and, where there are such images, of val.
        scores: of test.
        decision: what `decide` found.
        classes: their names.
        params: positive class, and the bootstrap.
    """
    test, val = outcomes["test"], outcomes.get("val")
    sampling = Sampling(params.bootstrap_samples, params.confidence, params.seed)
    positive = positive_label(classes, params)
    at = {classes.index(name): t for name, t in (decision.thresholds if decision else {}).items()}
    if positive is not None and not at:
        at = {positive: 0.5}
    points = _operating_points(test, scores, at, classes, sampling)
    # *Not sure* is looked at apart from the thresholds, which have the first word.
    open_to_all = dataclasses.replace(decision or Decision(), not_sure_below=0.0)
    said = answers(test, open_to_all, classes)
    right = said.labels == test.labels
    ranked = np.where(said.sure, said.confidence, 0.0)
    coverage = []
    if val is not None:
        on_val = answers(val, open_to_all, classes)
        right_on_val = (on_val.labels == val.labels)[on_val.sure]
        for target in sorted({*TARGETS, *_given(decision)}):
            confidence = on_val.confidence[on_val.sure]
            below = selective.sure_from(confidence, right_on_val, target, params.confidence)
            row: dict[str, Any] = {"target": target, "not_sure_below": below}
            if below is not None:
                sure = said.sure & (said.confidence >= below)
                row |= _with_ends(selective.answered(sure, right, sampling))
            coverage.append(row)
    at_coverage = np.arange(CURVE_POINTS) / (CURVE_POINTS - 1)
    risk = selective.curve(ranked, right, at_coverage)
    headline: dict[str, Any] = {}
    details: dict[str, Any] = {}
    if positive is not None:
        point = {str(name): value for name, value in points.iloc[0].items()}
        details["positive"] = point
        headline["positive"] = {
            name: value for name, value in point.items() if not name.endswith(("_low", "_high"))
        }
    if decision is not None:
        sure = said.sure & (said.confidence >= decision.not_sure_below)
        found = selective.answered(sure, right, sampling)
        headline["answers"] = {name: value for name, (value, _, _) in found.items()}
        details["answers"] = _with_ends(found)
        details["decision"] = dataclasses.asdict(decision)
    return Measured(
        headline=headline,
        details=details,
        aurc=selective.area_with_interval(ranked, right, sampling),
        tables={
            "operating_points": points,
            "coverage": pd.DataFrame(coverage, columns=COVERAGE),
        },
        plots={"risk_coverage": pd.DataFrame({"coverage": at_coverage, "risk": risk})},
    )


def _given(decision: Decision | None) -> list[float]:
    return [decision.target_accuracy] if decision and decision.target_accuracy else []


def _with_ends(figures: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """{"coverage": (0.9, 0.8, 1.0)} -> {"coverage": 0.9, "coverage_low": 0.8, …}."""
    return {
        f"{name}{ending}": value
        for name, values in figures.items()
        for ending, value in zip(("", "_low", "_high"), values, strict=True)
    }


def _operating_points(
    test: Outcomes,
    scores: Scores,
    at: Mapping[int, float],
    classes: Sequence[str],
    sampling: Sampling,
) -> pd.DataFrame:
    """A row a class that has a threshold: class, threshold, and figures with low and high ends."""
    labels = list(at)
    columns: dict[str, Any] = {"class": [classes[k] for k in labels], "threshold": at.values()}
    if not at:
        return pd.DataFrame(columns)
    found = thresholds.operating_points(test, at, sampling)
    ranked = {name: f"class_{name}" for name in ("roc_auc", "average_precision")}
    figures = {
        **{name: (found.value[name], found.low[name], found.high[name]) for name in found.value},
        **{
            name: (scores.class_values[key][labels], *(e[labels] for e in scores.class_bounds[key]))
            for name, key in ranked.items()
        },
    }
    return pd.DataFrame(columns | _with_ends(figures))
