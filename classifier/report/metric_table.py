"""The metrics of a run in words: names, meanings, values with intervals, as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# key in metrics/details.json -> name, meaning
MEANINGS = {
    "accuracy": ("Accuracy", "fraction of images that are right"),
    "balanced_accuracy": ("Balanced accuracy", "mean recall, every class counting the same"),
    "loss": ("Loss", "cross-entropy"),
    "precision_macro": ("Precision, macro", "right among what is called a class, mean of classes"),
    "recall_macro": ("Recall, macro", "found among what is a class, mean of classes"),
    "f1_macro": ("F1, macro", "harmonic mean of precision and recall, mean of classes"),
    "f1_weighted": ("F1, weighted", "the same, classes weighted by their images"),
    "precision_weighted": ("Precision, weighted", "classes weighted by their images"),
    "mcc": ("Matthews correlation", "1 is perfect, 0 is chance"),
    "kappa": ("Cohen's kappa", "agreement beyond chance"),
    "roc_auc": ("ROC AUC", "one class against the rest, mean of classes"),
    "average_precision": ("Average precision", "one class against the rest, mean of classes"),
    "ece_calibrated": (
        "Calibration error",
        "mean gap between confidence and accuracy; probabilities are shown after temperature"
        " scaling, and so measured",
    ),
    "ece": ("Calibration error, raw", "the same before temperature scaling"),
    "aurc": ("Risk over coverage", "mean risk of the surest answers, as ever more are given"),
    "specificity": ("Specificity", "not called the class among what is not"),
    "false_positive_rate": ("False-positive rate", "called the class among what is not"),
}
PERCENT = ("accuracy", "ece")
LOWER_IS_BETTER = ("loss", "ece", "ece_calibrated", "aurc", "false_positive_rate")


@dataclass(frozen=True)
class Metric:
    """One metric: ``value`` and, where known, its interval ``low`` to ``high``."""

    key: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def name(self) -> str:
        """Return the name for people."""
        if self.key in MEANINGS:
            return MEANINGS[self.key][0]
        if self.key.startswith("top") and self.key.endswith("_accuracy"):
            return f"Top-{self.key[3:].split('_')[0]} accuracy"
        return self.key.replace("_", " ").capitalize()

    @property
    def meaning(self) -> str:
        """Return what it measures, in a few words."""
        if self.key.startswith("top") and self.key.endswith("_accuracy"):
            return "the actual class is among the first of the network's guesses"
        meaning = MEANINGS.get(self.key, ("", ""))[1]
        return f"{meaning}; lower is better" if self.lower_is_better else meaning

    @property
    def lower_is_better(self) -> bool:
        """Whether less of it is better."""
        return self.key in LOWER_IS_BETTER

    @property
    def text(self) -> str:
        """Return the value, as per cent where that is usual."""
        return self.write(self.value)

    @property
    def interval(self) -> str:
        """Return the interval as "low to high", "" without one."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.write(self.low)} to {self.write(self.high)}"

    def write(self, value: float | None) -> str:
        """Return a value of this metric as text, "–" for none."""
        if value is None:
            return "–"
        if any(word in self.key for word in PERCENT):
            return f"{100 * value:.2f} %"
        return f"{value:.4f}"

    def write_change(self, change: float) -> str:
        """Return a difference of two values of this metric as text, of per cents in points."""
        if any(word in self.key for word in PERCENT):
            return f"{100 * change:+.2f} points"
        return f"{change:+.4f}" if abs(change) >= 0.00005 else f"{change:+.1g}"


def of_split(details: Mapping[str, Any], split: str) -> dict[str, Metric]:
    """Return the metrics of a split from ``metrics/details.json``, in the order of MEANINGS."""
    found = {
        key: Metric(key, entry["value"], entry.get("low"), entry.get("high"))
        for key, entry in details.get(split, {}).items()
        if isinstance(entry, Mapping) and isinstance(entry.get("value"), int | float)
    }
    known = list(MEANINGS)
    order = sorted(found, key=lambda key: (known.index(key) if key in known else 99, key))
    return {key: found[key] for key in order}


def test_metrics(details: Mapping[str, Any]) -> list[Metric]:
    """Return the metrics of the test images that a report shows."""
    longer = ("precision_weighted", "recall_weighted")  # the latter is the accuracy
    return [one for key, one in of_split(details, "test").items() if key not in longer]


def as_table(metrics: list[Metric]) -> str:
    """Return the metrics as aligned lines for a terminal."""
    wide = max((len(metric.name) for metric in metrics), default=0)
    return "\n".join(
        f"  {metric.name:<{wide}}  {metric.text:>9}  {metric.interval}".rstrip()
        for metric in metrics
    )
