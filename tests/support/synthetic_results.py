"""A workspace as the first five stages leave it, made up in a second, for any kind of data set."""

from pathlib import Path
from typing import Any

import numpy as np

from classifier.core.csv_files import row_writer, write_table
from classifier.core.files import write_json
from classifier.evaluation import tables
from classifier.evaluation.decide import decide, measure
from classifier.evaluation.mistakes import confident_mistakes, confused_pairs, least_certain
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, headline, score
from classifier.metrics.stored_logits import stored
from classifier.report.results import Folders

WORDS = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    "aquarium_fish", "orchid", "sweet_pepper", "streetcar", "pickup_truck", "plain", "poppy", "ray",
    "snail", "willow_tree",
]  # fmt: skip


def folders(root: Path) -> Folders:
    """Where the stages write, below ``root``."""
    return Folders(
        raw=root / "data/raw",
        prepared=root / "data/prepared",
        predictions=root / "data/predictions",
        explain=root / "data/explain",
        metrics=root / "metrics",
        models=root / "models",
        params=root / "params.yaml",
    )


def make(
    root: Path, classes: int = 10, size: int = 32, channels: int = 3, test: int = 400, seed: int = 0
) -> Folders:
    """Fill ``root``; images are stripes whose direction and color depend on the class."""
    generator = np.random.default_rng(seed)
    where = folders(root)
    names = [
        WORDS[number] if number < len(WORDS) else f"{WORDS[number % len(WORDS)]}_{number}"
        for number in range(classes)
    ]
    counts = {"train": max(4 * classes, 2 * test), "val": max(classes, test // 4), "test": test}
    labels = _prepared(where.prepared, names, counts, size, channels, generator)
    write_json(
        where.raw / "source.json",
        {
            "source": "stripes",
            "name": "Stripes",
            "description": "Stripes of many colors & directions, made for a test.",
            "license": "CC0",
            "counts": {"images": sum(counts.values()), "rejected": 1},
        },
    )
    _write(where.raw / "rejected.csv", ["id", "path", "reason"], [["x", "a/<b>.png", "truncated"]])
    logits = 2.2 * generator.normal(size=(test, classes)).astype(np.float32)
    logits[np.arange(test), labels["test"]] += 4.5 + np.log(classes)
    logits[np.arange(test), (labels["test"] + 1) % classes] += 1.5
    where.predictions.mkdir(parents=True)
    logits = stored(logits)
    np.save(where.predictions / "test_logits.npy", logits)
    outcomes = Outcomes(logits, labels["test"], 1.4)
    ids = [f"test-{row:05}" for row in range(test)]
    _metrics(where.metrics, outcomes, names)
    _training(where, classes, channels, size, generator)
    _explain(where.explain, outcomes, ids, names, size, channels, labels, generator)
    (root / "params.yaml").write_text(
        "download: # from where\n  source: stripes\ntrain:\n  lr: 0.003 # rate\n  epochs: 20\n"
        "model:\n  name: cnn\n  cnn:\n    widths: [32, 64]\nplot:\n  images: 16\n",
        encoding="utf-8",
    )
    return where


def _prepared(
    folder: Path, names: list[str], counts: dict[str, int], size: int, channels: int, generator: Any
) -> dict[str, Any]:
    folder.mkdir(parents=True)
    rows, labels = [], {}
    grid = np.mgrid[0:size, 0:size] / size
    for split, number in counts.items():
        label = np.arange(number) % len(names)
        angle = np.pi * label / len(names) + generator.normal(0, 0.08, number)
        phase = generator.uniform(0, 6, number)
        wave = np.sin(
            9 * (np.cos(angle)[:, None, None] * grid[0] + np.sin(angle)[:, None, None] * grid[1])
            + phase[:, None, None]
        )
        tint = 0.5 + 0.5 * np.cos(label[:, None] * 2.1 + np.arange(channels) * 2)
        images = 128 + 100 * wave[..., None] * tint[:, None, None, :]
        images += generator.normal(0, 10, (number, size, size, 1))
        np.save(folder / f"{split}.npy", images.clip(0, 255).astype(np.uint8))
        np.save(folder / f"{split}_labels.npy", label)
        labels[split] = label
        for row in range(number):
            width, height = (generator.integers(size, 2 * size, 2)).tolist()
            rows.append([f"{split}-{row:05}", split, row, names[label[row]], width, height])
    _write(folder / "index.csv", ["id", "split", "row", "label", "width", "height"], rows)
    facts = {"channels": channels, "image_size": size, "resize": "squash"}
    meta = {"classes": names, "normalize": "standardize", "counts": counts, **facts}
    write_json(folder / "meta.json", {**meta, "mean": [0.5] * channels, "std": [0.2] * channels})
    return labels


def _metrics(folder: Path, outcomes: Outcomes, names: list[str]) -> None:
    params = EvaluateParams(
        batch_size=64, top_k=5, seed=0, bootstrap_samples=30, threshold="max_f1"
    )
    scores = score(outcomes, params)
    decision = decide(outcomes, names, params)
    found = measure({"test": outcomes, "val": outcomes}, scores, decision, names, params)
    aurc = dict(zip(("value", "low", "high"), found.aurc, strict=True))
    write_json(folder / "evaluate.json", {**headline(scores), **found.headline})
    for kind, written in (("plots", found.plots), ("tables", found.tables)):
        for name, table in written.items():
            write_table(folder / kind / f"{name}.csv", table, missing="nan")
    details = {"bootstrap": {"confidence": 0.95}, "temperature": 1.4, **found.details}
    details["test"] = {**scores.table(), "aurc": aurc}
    write_json(folder / "details.json", {**details, "val": scores.table(), "train": scores.table()})
    pairs = [
        {
            "first": f"test-0000{n}", "first_label": names[n % 2], "first_split": "test",
            "second": f"train-0000{n}", "second_label": names[n % 2], "second_split": "train",
            "bits": n,
        }
        for n in range(4)
    ]  # fmt: skip
    counts = {"images": 1234, "rejected": 1, "near_duplicates_across_splits": 4}
    lists = {"near_duplicates_across_splits": pairs}
    write_json(folder / "quality.json", {**counts, "pairs": lists})
    write_table(folder / "per_class.csv", tables.per_class(outcomes, scores, names))
    bins = tables.reliability_bins(outcomes, 15)
    write_table(folder / "plots/reliability.csv", bins, missing="nan")


def _training(where: Folders, classes: int, channels: int, size: int, generator: Any) -> None:
    rows = []
    for epoch in range(1, 21):
        loss = np.log(classes) * np.exp(-epoch / 5) + 0.02
        noise = 1 + 0.05 * generator.normal()
        held = loss * noise + 0.004 * epoch
        rate = 0.003 * np.sin(np.pi * epoch / 21)
        rows.append([epoch, loss, 1 - loss / 5, held, 1 - held / 4.5, rate])
    columns = ["epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
    _write(where.metrics / "history.csv", columns, rows)
    train = {"best_epoch": 15, "epochs": 20, "val_accuracy": 0.9512345, "val_loss": 0.1}
    write_json(where.metrics / "train.json", {**train, "parameters": 106_250})
    layers, last, side = [], channels, size
    for stage, width in enumerate((32, 64, 128)):
        kinds = {"Conv2d": 9 * last * width, "BatchNorm2d": 2 * width, "ReLU": 0}
        for kind, weights in kinds.items():
            products = weights * side * side if kind == "Conv2d" else 0
            layer = {"name": f"backbone.block{stage}.{kind.lower()}", "kind": kind}
            layer |= {"output": [width, side, side], "parameters": weights}
            layers.append({**layer, "multiply_adds": products})
        side, last = max(1, side // 2), width
    head = {"name": "head.linear", "kind": "Linear", "output": [classes]}
    layers.append({**head, "parameters": 129 * classes, "multiply_adds": 128 * classes})
    totals = {key: sum(one[key] for one in layers) for key in ("parameters", "multiply_adds")}
    write_json(
        where.models / "summary.json",
        {"name": "cnn", "layers": layers, "numerics": "portable", **totals},
    )


def _explain(
    folder: Path, outcomes: Outcomes, ids: list[str], names: list[str], size: int, channels: int,
    labels: dict[str, Any], generator: Any,
) -> None:  # fmt: skip
    folder.mkdir(parents=True)
    write_table(folder / "mistakes.csv", confident_mistakes(outcomes, ids, names, 60))
    write_table(folder / "uncertain.csv", least_certain(outcomes, ids, names, 60))
    write_table(folder / "confused_pairs.csv", confused_pairs(outcomes, names, 60))
    rows = [[ids[n], "test", n, names[labels["test"][n]], names[0], 0.5, 0.9] for n in range(9)]
    head = ["id", "split", "row", "given", "suggested", "score", "error_probability"]
    _write(folder / "label_errors.csv", head, rows)
    images = np.load(folder.parent / "prepared" / "test.npy")
    chosen = np.arange(0, min(16, len(images)))
    np.save(folder / "gradcam_images.npy", images[chosen])
    grid = np.mgrid[-1 : 1 : 1j * size, -1 : 1 : 1j * size]
    bump = np.exp(-3 * (grid**2).sum(axis=0)).astype(np.float32)
    np.save(folder / "gradcam_heat.npy", np.repeat(bump[None], len(chosen), axis=0))
    actual = [names[label] for label in labels["test"]]
    predicted = [names[label] for label in outcomes.predicted]
    lines = [[n, n, ids[n], actual[n], predicted[n], 0.9, int(outcomes.right[n])] for n in chosen]
    columns = ["index", "row", "id", "actual", "predicted", "probability", "right"]
    _write(folder / "gradcam.csv", columns, lines)
    np.save(folder / "filters.npy", generator.normal(size=(32, channels, 3, 3)).astype(np.float32))
    maps = {f"stage{n}": generator.random((16, size >> n, size >> n)) for n in (0, 1)}
    np.savez(folder / "feature_maps.npz", image=images[0], **maps)
    center = generator.normal(size=(len(names), 2)) * 4
    plane = center[labels["test"]] + generator.normal(size=(len(ids), 2))
    lines = [[n, ids[n], *plane[n], actual[n], predicted[n]] for n in range(len(ids))]
    _write(folder / "embedding.csv", ["row", "id", "x", "y", "actual", "predicted"], lines)
    write_json(folder / "explain.json", {"embedding_variance": [0.31, 0.22]})


def _write(path: Path, columns: list[str], rows: list[list[Any]]) -> None:
    with row_writer(path, columns) as write:
        write(rows)
