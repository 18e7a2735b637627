"""Does transfer learning pay? Eight classes of CIFAR-10 first, then few images of the other two.

    python -m benchmarks.transfer FOLDER

FOLDER has train/CLASS/*.jpg and test/CLASS/*.jpg with the images of CIFAR-10. The weights are
made here, on eight of its classes, so that nothing is fetched and nothing of the other two has been
seen. All three ways train equally long, on the same images, without augmentation.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from classifier.models.buffers import keep_large_buffers
from classifier.models.classifier import Classifier
from classifier.models.forward import normalize, predict_logits
from classifier.models.model_file import save
from classifier.models.registry import ModelParams, build
from classifier.models.spec import ModelSpec
from classifier.training.transfer import freeze, load_weights, plan

FEW, BATCH = 50, 64
BACKBONE_LR = 0.1  # factor on the learning rate, when everything is fine-tuned

Images = tuple[np.ndarray, Tensor]


def measure(
    folder: Path, pretrain_images: int, pretrain_epochs: int, seeds: Sequence[int]
) -> dict[str, list[float]]:
    """Test accuracy on the last two classes of the alphabet, one for each seed, by way of training.

    Args:
        folder: with train/CLASS/*.jpg and test/CLASS/*.jpg.
        pretrain_images: of each of the eight other classes.
        seeds: each draws other weights, and 50 other images of both new classes.
    """
    *old, new_1, new_2 = sorted(path.name for path in (folder / "train").iterdir())
    new = [new_1, new_2]
    scores: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "old.safetensors"
        scratch = ModelParams("cnn")
        images = read(folder / "train", old, pretrain_images)
        network, spec = train(scratch, old, images, pretrain_epochs, seed=0)
        save(path, network, spec)
        pretrained = replace(scratch, pretrained=str(path))
        test = read(folder / "test", new)
        for seed in seeds:
            images = read(folder / "train", new, FEW, start=seed * FEW)
            for way, params, backbone_lr in (
                ("from scratch", scratch, 1.0),
                ("frozen backbone", replace(pretrained, freeze="backbone"), 1.0),
                ("fine-tuned", pretrained, BACKBONE_LR),
            ):
                network, spec = train(params, new, images, 40, seed, backbone_lr)
                logits = predict_logits(network, test[0], spec.mean, spec.std)
                accuracy = (logits.argmax(1) == test[1].numpy()).mean()
                scores.setdefault(way, []).append(float(accuracy))
    return scores


def read(folder: Path, classes: Sequence[str], count: int | None = None, start: int = 0) -> Images:
    """``count`` images of each class, or all: uint8 [N, 32, 32, 3] and their class numbers."""
    images, labels = [], []
    for number, name in enumerate(classes):
        for path in sorted((folder / name).iterdir())[start:][:count]:
            with Image.open(path) as image:
                images.append(np.asarray(image.convert("RGB")))
            labels.append(number)
    return np.stack(images), torch.tensor(labels)


def train(
    params: ModelParams,
    classes: Sequence[str],
    labeled: Images,
    epochs: int,
    seed: int,
    backbone_lr: float = 1.0,
) -> tuple[Classifier, ModelSpec]:
    """AdamW with a one-cycle schedule, from the weights that ``params`` names."""
    images, labels = torch.from_numpy(labeled[0]), labeled[1]
    facts = {"classes": classes, "channels": 3, "image_size": images.shape[1], "resize": "squash"}
    colors = images.float().div(255).flatten(0, 2)
    facts |= {"mean": colors.mean(0).tolist(), "std": colors.std(0).tolist()}
    spec = plan(params, facts)
    torch.manual_seed(seed)
    network = build(
        spec.name, spec.args, classes=len(classes), channels=3, image_size=spec.image_size
    )
    load_weights(network, params, spec)
    lr, per_epoch = 3e-3, -(-len(labels) // BATCH)
    groups = [
        {"params": network.backbone.parameters(), "lr": lr * backbone_lr},
        {"params": network.head.parameters(), "lr": lr},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], total_steps=epochs * per_epoch
    )
    for epoch in range(epochs):
        freeze(network, params, epoch)
        network.train()
        for chosen in torch.randperm(len(labels)).split(BATCH):
            batch = normalize(images[chosen], spec.mean, spec.std)
            loss = F.cross_entropy(network(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval(), spec


if __name__ == "__main__":
    keep_large_buffers()
    started = time.perf_counter()
    results = measure(Path(sys.argv[1]), 2000, 6, seeds=range(3))
    print("| way | test accuracy, mean of 3 | lowest | highest |")
    print("|---|---|---|---|")
    for way, values in results.items():
        print(f"| {way} | {statistics.mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
    print(f"\n{time.perf_counter() - started:.0f} s")
