"""How well copies of training images among test images are found: by perceptual hash, by embedding.

Copies of 50 training images each, changed in five ways, join 1,000 test images that have none made
(but for those that CIFAR-10 itself has). A small cnn is trained, and each method names suspects.

    python -m benchmarks.neighbors FOLDER     # a folder for each class, 7,000 color images or more
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance

from classifier.evaluation.embedding import recorded_embeddings
from classifier.images.hashing import perceptual_hash
from classifier.metrics.neighbors import nearest, unit
from classifier.models.forward import normalize, predict_logits
from classifier.models.registry import build

TRAIN, TEST, EACH, EPOCHS = 6000, 1000, 50, 8
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
Change = Callable[[Image.Image], Image.Image]


def _recompressed(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


CHANGES: dict[str, Change] = {
    "JPEG, quality 60": _recompressed,
    "30 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "moved by 2 pixels": lambda image: Image.fromarray(np.roll(np.asarray(image), 2, axis=1)),
    "cropped by 2 pixels a side": lambda image: image.crop((2, 2, 30, 30)).resize((32, 32)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def main() -> None:
    """Print, for each change, the fraction found, and what is named of unchanged test images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    files = sorted(parser.parse_args().folder.glob("*/*"))
    generator = np.random.default_rng(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    chosen = [files[at] for at in generator.permutation(len(files))[: TRAIN + TEST]]
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in chosen])
    names = sorted({path.parent.name for path in chosen})
    labels = np.array([names.index(path.parent.name) for path in chosen])
    train, test = images[:TRAIN], images[TRAIN:]
    network = build("cnn", {}, classes=len(names), channels=3, image_size=32)
    _fit(network, train, labels[:TRAIN], generator)
    known, _ = _embedded(network, train)
    own, logits = _embedded(network, test)
    print(f"test accuracy {(logits.argmax(1) == labels[TRAIN:]).mean():.3f}")
    hashes = np.array([_hash(image) for image in train])
    for name, change in {"unchanged test images": None, **CHANGES}.items():
        if change is None:
            sources, asked, seen = np.full(TEST, -1), test, own
        else:
            sources = generator.permutation(TRAIN)[:EACH]
            asked = np.stack([np.asarray(change(Image.fromarray(train[at]))) for at in sources])
            seen, _ = _embedded(network, asked)
        found = nearest(seen, known, 5)
        near = found.distance[:, 0] < 0.3 * found.distance[:, 4]
        bits = np.array([np.bitwise_count(hashes ^ _hash(image)).min() for image in asked])
        right = near if change is None else near & (found.rows[:, 0] == sources)
        first = "" if change is None else f", nearest of all {np.mean(found.rows[:, 0] == sources)}"
        print(f"{name}: embedding {right.mean():.3f}{first}, hash {np.mean(bits <= 8):.3f}")


def _hash(image: np.ndarray) -> np.uint64:
    return np.uint64(perceptual_hash(Image.fromarray(image)))


def _fit(
    network: torch.nn.Module, images: np.ndarray, labels: np.ndarray, generator: np.random.Generator
) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    targets = torch.from_numpy(labels)
    for _ in range(EPOCHS):
        network.train()
        for rows in torch.randperm(len(images)).split(128):
            batch = images[rows.numpy()]
            batch = batch[:, :, ::-1] if generator.random() < 0.5 else batch
            logits = network(normalize(torch.tensor(batch.copy()), MEAN, STD))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets[rows]).backward()
            optimizer.step()


def _embedded(network: torch.nn.Module, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with recorded_embeddings(network, np.arange(len(images))) as embeddings:
        logits = predict_logits(network, images, MEAN, STD)
    return unit(embeddings()), logits


if __name__ == "__main__":
    main()
