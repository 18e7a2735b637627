"""What each rule of evaluate.threshold comes to on test, where one class is ten times as rare.

python -m benchmarks.decisions cifar10-images.tar.xz

The archive has test/CLASS/NAME.jpg and train/CLASS/NAME.jpg. Two of its classes are taken, in
proportions that this script makes, and a small network learns to tell them apart.
"""

import dataclasses
import io
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.core.files import write_json
from classifier.dataset.prepared import PreparedData
from classifier.evaluation.decide import decide, measure
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, score
from classifier.models.forward import predict_logits
from classifier.models.networks.cnn import CnnParams
from classifier.models.registry import ModelParams
from classifier.training.loop import train
from classifier.training.params import TrainParams

CLASSES = ("automobile", "truck")  # the second is the rare one
COUNTS = {"train": (2000, 200), "val": (1000, 100), "test": (2000, 200)}
RULES = (0.5, "max_f1", "youden", "recall>=0.95", "precision>=0.9", "cost(fp=1,fn=10)")
TARGETS = (0.95, 0.98, 0.99)


def images(archive: Path) -> list[np.ndarray]:
    """uint8 [N, H, W, 3] of each class, in a random order."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in CLASSES}
    with tarfile.open(archive) as tar:
        for member in tar:
            kind = Path(member.name).parent.name
            if member.isfile() and kind in found:
                content = tar.extractfile(member)
                assert content is not None
                found[kind].append(np.asarray(Image.open(io.BytesIO(content.read()))))
    generator = np.random.default_rng(0)
    return [np.stack(part)[generator.permutation(len(part))] for part in found.values()]


def prepared(parts: list[np.ndarray], folder: Path) -> PreparedData:
    """The images as the stage preprocess leaves them."""
    rows, start = [], [0, 0]
    for split, counts in COUNTS.items():
        ranges = [slice(at, at + count) for at, count in zip(start, counts, strict=True)]
        start = [one.stop for one in ranges]
        pixels = np.concatenate([part[one] for part, one in zip(parts, ranges, strict=True)])
        labels = np.repeat([0, 1], counts)
        np.save(folder / f"{split}.npy", pixels)
        np.save(folder / f"{split}_labels.npy", labels)
        names = [CLASSES[label] for label in labels]
        rows += [[f"{split}{n}", split, n, name, 32, 32] for n, name in enumerate(names)]
        if split == "train":
            scaled = pixels / 255
    columns = ["id", "split", "row", "label", "width", "height"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "index.csv", index=False)
    counted = {split: sum(counts) for split, counts in COUNTS.items()}
    facts = {"channels": 3, "image_size": 32, "resize": "squash", "normalize": "standardize"}
    mean, std = (getattr(scaled, name)(axis=(0, 1, 2)).tolist() for name in ("mean", "std"))
    write_json(
        folder / "meta.json",
        {"classes": CLASSES, "counts": counted, "mean": mean, "std": std, **facts},
    )
    return PreparedData.open(folder)


def main(archive: Path) -> None:
    """Train, choose by each rule on validation, and print two tables in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        data = prepared(images(archive), Path(folder))
        model = ModelParams("cnn", cnn=CnnParams(filters=(16, 32, 64)))
        settings = TrainParams(
            lr=0.005, epochs=5, batch_size=128, optimizer="adamw", seed=0, schedule="onecycle"
        )
        augment = AugmentParams(horizontal_flip="random", shift=0.125)
        trained = train(settings, model, augment, data, say=lambda line: None)
        spec = trained.spec()
        outcomes = {
            split: Outcomes(
                predict_logits(trained.network, data.images(split), spec.mean, spec.std),
                data.labels(split),
                spec.temperature,
            )
            for split in ("val", "test")
        }
    plain = EvaluateParams(batch_size=256, top_k=1, seed=0)
    scores = score(outcomes["test"], plain)
    print(f"Accuracy {scores.text('accuracy')}, ROC AUC {scores.text('roc_auc')}.\n")
    figures = ("precision", "recall", "specificity", "f1")
    print(f"| rule | threshold | {' | '.join(figures)} | on validation |")
    print(f"|---|---:|{'---:|' * len(figures)}---|")
    for rule in RULES:
        params = dataclasses.replace(plain, threshold=rule)
        try:
            found = decide(outcomes["val"], CLASSES, params)
        except UserError as error:
            print(f"| `{rule}` | | | | | | {error} |")
            continue
        point = measure(outcomes, scores, found, CLASSES, params).details["positive"]
        called = outcomes["val"].calibrated_probability(1) >= point["threshold"]
        truly = outcomes["val"].labels == 1
        precision = f"{truly[called].mean():.3f}" if called.any() else "–"
        reached = f"precision {precision}, recall {called[truly].mean():.3f}"
        cells = [
            f"{point[name]:.3f} ({point[f'{name}_low']:.3f} to {point[f'{name}_high']:.3f})"
            for name in figures
        ]
        print(f"| `{rule}` | {point['threshold']:.4f} | {' | '.join(cells)} | {reached} |")
    print("\n| target | not sure below | coverage | accuracy |\n|---|---:|---:|---:|")
    for target in TARGETS:
        params = dataclasses.replace(plain, target_accuracy=target)
        try:
            found = decide(outcomes["val"], CLASSES, params)
        except UserError as error:
            print(f"| {target:.1%} | {error} | | |")
            continue
        answers = measure(outcomes, scores, found, CLASSES, params).details["answers"]
        cells = [
            f"{answers[n]:.1%} ({answers[f'{n}_low']:.1%} to {answers[f'{n}_high']:.1%})"
            for n in ("coverage", "accuracy")
        ]
        assert found is not None
        print(f"| {target:.1%} | {found.not_sure_below:.4f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
