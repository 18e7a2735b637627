"""What is seen in a chart, in words and with its main figures: for those who do not see it."""

from collections.abc import Callable

import numpy as np

from classifier.report.figures.confusion import largest_pairs
from classifier.report.metric_table import of_split
from classifier.report.results import Results, rows


def seen(name: str, results: Results) -> str:
    """A sentence or two on the chart ``name``; "" where there is nothing to add to its title."""
    describe = _DESCRIBED.get(name)
    return describe(results) if describe else ""


def _curves(results: Results) -> str:
    parts = []
    for key, words in (
        ("train_loss", "train loss"),
        ("val_loss", "validation loss"),
        ("val_accuracy", "validation accuracy"),
    ):
        values = [value for value in results.history.get(key, ()) if np.isfinite(value)]
        if values:
            parts.append(f"{words} goes from {values[0]:.3g} to {values[-1]:.3g}")
    best = results.metrics("train").get("best_epoch")
    parts += [f"the best epoch is {best}"] if best else []
    return f"Over {len(results.history['epoch'])} epochs " + ", ".join(parts) + "."


def _network(results: Results) -> str:
    layers, parameters = len(results.summary["layers"]), results.summary["parameters"]
    return f"{layers} layers with {parameters:,} parameters."


def _confusion(results: Results) -> str:
    matrix, classes = results.confusion, results.data.classes
    right = f"{np.trace(matrix):,} of {matrix.sum():,} images are on the diagonal"
    wrong = matrix - np.diag(np.diag(matrix))
    if not wrong.any():
        return f"{right}."
    actual, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    count = wrong[actual, predicted]
    return (
        f"{right}; the most frequent mistake is {classes[actual]} taken for {classes[predicted]},"
        f" {count:,} of {matrix[actual].sum():,}."
    )


def _confused_pairs(results: Results) -> str:
    found = largest_pairs(results.confusion, 3)
    names = results.data.classes
    parts = [
        f"{names[actual]} → {names[wrong]} {count:,} times" for actual, wrong, count, _ in found
    ]
    return f"The largest are {', '.join(parts)}."


def _per_class(results: Results) -> str:
    return "F1 " + _range({row["class"]: row["f1"] for row in rows(results.per_class)})


def _ranking(key: str, words: str) -> Callable[[Results], str]:
    def described(results: Results) -> str:
        found = {row["class"]: row.get(key, np.nan) for row in rows(results.per_class)}
        return f"{words} " + _range(found)

    return described


def _range(values: dict[str, float]) -> str:
    known = {name: value for name, value in values.items() if np.isfinite(value)}
    if not known:
        return "is not known."
    low, high = min(known, key=lambda name: known[name]), max(known, key=lambda name: known[name])
    if known[low] == known[high]:
        return f"is {known[low]:.3f} for each class."
    return f"goes from {known[low]:.3f} for {low} to {known[high]:.3f} for {high}."


def _reliability(results: Results) -> str:
    scores = of_split(results.metrics("details"), "test")
    found = [
        f"{scores[key].text} {words}"
        for key, words in (("ece", "as predicted"), ("ece_calibrated", "calibrated"))
        if key in scores
    ]
    return f"Confidence and accuracy differ by {', '.join(found)}, on average." if found else ""


def _risk_coverage(results: Results) -> str:
    table = results.table("plots/risk_coverage")
    half = table.iloc[(table["coverage"] - 0.5).abs().argmin()]
    return (
        f"{100 * half['risk']:.2f} % of the surer half of the answers are wrong, "
        f"{100 * table['risk'].iloc[-1]:.2f} % of all."
    )


def _class_counts(results: Results) -> str:
    data = results.data
    split = "train" if "train" in data.splits else data.splits[0]
    counts = np.bincount(data.labels(split), minlength=len(data.classes))
    few, many = int(counts.argmin()), int(counts.argmax())
    return (
        f"A class has from {counts[few]:,} ({data.classes[few]}) to {counts[many]:,}"
        f" ({data.classes[many]}) {split} images."
    )


def _sizes(results: Results) -> str:
    sizes = np.concatenate([results.data.sizes(split) for split in results.data.splits])
    (low, short), (high, tall) = sizes.min(axis=0), sizes.max(axis=0)
    return f"Widths from {low} to {high} pixels, heights from {short} to {tall}."


def _embedding(results: Results) -> str:
    points = results.embedding
    wrong = int((points["actual"] != points["predicted"]).sum())
    return f"{len(points):,} images of {points['actual'].nunique()} classes, {wrong:,} mistakes."


_DESCRIBED: dict[str, Callable[[Results], str]] = {
    "curves": _curves,
    "network": _network,
    "confusion": _confusion,
    "confusion_normalized": _confusion,
    "confused_pairs": _confused_pairs,
    "per_class": _per_class,
    "roc": _ranking("roc_auc", "ROC AUC"),
    "pr": _ranking("average_precision", "Average precision"),
    "reliability": _reliability,
    "risk_coverage": _risk_coverage,
    "class_counts": _class_counts,
    "sizes": _sizes,
    "embedding": _embedding,
}
