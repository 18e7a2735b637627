"""Other people's ways to CIFAR-10 on this machine's CPU cores, as curves for `benchmarks.curves`.

    python -m benchmarks.peers keras FOLDER [EPOCHS]
    python -m benchmarks.peers kuangliu FOLDER CLONE [STEPS]
    python -m benchmarks.peers timm FOLDER CLONE [EPOCHS]

FOLDER has train/CLASS/* and test/CLASS/*, CLONE is a clone of kuangliu/pytorch-cifar or of
huggingface/pytorch-image-models. Each prints lines of "seconds,accuracy on the test images" after
every epoch. The clock of keras and kuangliu starts with all images decoded in memory and every
import done, which this project's own time includes; that of timm is its whole process.
"""

import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def arrays(folder: Path) -> tuple[Any, Any]:
    """uint8 images [N, H, W, 3] and int64 labels [N] of class folders."""
    images, labels = [], []
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for label, place in enumerate(classes):
        for file in sorted(place.iterdir()):
            images.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    return np.stack(images), np.array(labels)


def keras(folder: Path, epochs: str = "10") -> Iterator[tuple[float, float]]:
    """TensorFlow's tutorial "Convolutional Neural Network (CNN)": its network, Adam, batches of 32.

    https://www.tensorflow.org/tutorials/images/cnn
    """
    from tensorflow import keras as k

    train, test = arrays(folder / "train"), arrays(folder / "test")
    (x, y), (x_test, y_test) = ((images / 255.0, labels) for images, labels in (train, test))
    layers = [k.layers.Input(x.shape[1:])]
    for width in (32, 64):
        layers += [k.layers.Conv2D(width, 3, activation="relu"), k.layers.MaxPooling2D()]
    layers += [k.layers.Conv2D(64, 3, activation="relu"), k.layers.Flatten()]
    network = k.Sequential([*layers, k.layers.Dense(64, activation="relu"), k.layers.Dense(10)])
    loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"])
    started = time.perf_counter()
    for _ in range(int(epochs)):
        score = network.fit(x, y, validation_data=(x_test, y_test), verbose=0)
        yield time.perf_counter() - started, score.history["val_accuracy"][0]


def kuangliu(folder: Path, clone: Path, steps: str = "60") -> Iterator[tuple[float, float]]:
    """ResNet-18 as pytorch-cifar trains it, extrapolated: one line, of what was not run.

    STEPS steps after five are timed and give the seconds of its 200 epochs, training alone; the
    accuracy is the one of its README, on the original arrays.
    """
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms as t
    from torchvision.datasets import ImageFolder

    sys.path.insert(0, str(clone))
    ResNet18 = importlib.import_module("models").ResNet18  # noqa: N806

    chain = [t.RandomCrop(32, padding=4), t.RandomHorizontalFlip(), t.ToTensor()]
    chain += [t.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))]
    data = ImageFolder(str(folder / "train"), t.Compose(chain))
    loader = DataLoader(data, 128, shuffle=True, num_workers=2)
    network, loss = ResNet18(), torch.nn.CrossEntropyLoss()
    sgd = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for number, (images, labels) in enumerate(loader):
        if number == 5:
            started = time.perf_counter()
        if number == 5 + int(steps):
            break
        sgd.zero_grad()
        loss(network(images), labels).backward()
        sgd.step()
    yield (time.perf_counter() - started) / int(steps) * len(loader) * 200, 0.9302


def timm(folder: Path, clone: Path, epochs: str = "10") -> Iterator[tuple[float, float]]:
    """timm's train.py: its resnet18 from scratch at 32 pixels, bfloat16, cosine."""
    options = "--model resnet18 --num-classes 10 --img-size 32 --batch-size 128 --workers 2"
    options += " --device cpu --amp --amp-dtype bfloat16 --channels-last --no-prefetcher"
    options += " --train-split train --val-split test --crop-pct 1 --scale 0.6 1 --color-jitter 0"
    options += " --opt sgd --lr 0.1 --weight-decay 5e-4 --sched cosine --sched-on-updates"
    options += f" --warmup-epochs 1 --min-lr 0 --smoothing 0.1 --epochs {epochs}"
    started, test = time.perf_counter(), None
    with (
        tempfile.TemporaryDirectory() as output,
        subprocess.Popen(
            [
                *(sys.executable, clone / "train.py", "--data-dir", folder, "--output", output),
                *options.split(),
            ],
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            print(line, end="", file=sys.stderr)
            if "Acc@1:" in line and "Test" in line:
                test = float(line.split("Acc@1:")[1].split("(")[1].split(")")[0]) / 100
            elif "Current checkpoints" in line and test is not None:
                yield time.perf_counter() - started, test


def main() -> None:
    name, folder, *rest = sys.argv[1:]
    ways = {"keras": keras, "kuangliu": kuangliu, "timm": timm}
    paths = [Path(rest[0]).resolve(), *rest[1:]] if name != "keras" else rest
    for seconds, accuracy in ways[name](Path(folder).resolve(), *paths):  # type: ignore[operator]
        print(f"{seconds:.1f},{accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
