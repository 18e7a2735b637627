"""Photographs and a pretrained backbone: plain scripts, on the split of a run of this project.

    python -m benchmarks.photos RUN WAY --photos FOLDER --weights FILE [--seed N]

RUN is a clone of this project in which a recipe has run on FOLDER, the class folders. WAY is one of
`probe`, embeddings once and scikit-learn's logistic regression; `timm`, the plain loop of
fine-tuning: AdamW, one cycle, random resized crops, bfloat16; `fastai`, its `vision_learner` and
`fine_tune`; `autotimm`, its `ImageClassifier` (`pip install fastai autotimm`, in an environment of
their own). FILE holds the backbone's own state dict. Each prints a line of JSON: the accuracy on
the test images, and the seconds and processor seconds from the files on disk to that figure,
imports included. The line ends with what RUN itself answers for the same images: its accuracy, and
the 95 % interval of the paired difference.
"""

import argparse
import json
import resource
import tempfile
import time

STARTED = time.perf_counter()

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import pandas as pd  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

EPOCHS = 5
Predicted = npt.NDArray[np.int64]  # the number of a class for each test image, [N]


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """Files and labels of one split, decoded and transformed when they are asked for."""

    def __init__(self, table: pd.DataFrame, root: Path, transform: Any) -> None:
        self.paths = [root / name for name in table.id]
        self.labels = table.label.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.paths[row]) as image:
            return self.transform(image.convert("RGB")), self.labels[row]


def split_table(run: Path) -> tuple[pd.DataFrame, list[str]]:
    """The run's split: columns id, split, label (a number); and the classes."""
    table = pd.read_csv(run / "data/splits/split.csv")
    names = table.id.str.split("/").str[-2]
    classes = sorted(names.unique())
    return table.assign(label=names.map(classes.index)), classes


def network(name: str, weights: Path, classes: int) -> Any:
    """timm's network with these weights and a fresh last layer (none for 0 classes)."""
    model = timm.create_model(name, pretrained=False)
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.reset_classifier(classes)
    return model


def transforms(name: str, training: bool) -> Any:
    """What timm itself makes of an image for this network."""
    config = timm.data.resolve_data_config({}, model=timm.create_model(name))
    return timm.data.create_transform(**config, is_training=training, auto_augment=None)


def probe(tables: dict[str, pd.DataFrame], root: Path, args: argparse.Namespace) -> Predicted:
    """Embeddings, standardized, and logistic regression with its strength chosen on validation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model, transform = (
        network(args.network, args.weights, 0).eval(),
        transforms(args.network, False),
    )
    found = {}
    for split, table in tables.items():
        loader = DataLoader(Photos(table, root, transform), 64, num_workers=2)
        with torch.inference_mode():
            found[split] = np.concatenate([model(images).numpy() for images, _ in loader])
    labels = {split: table.label.to_numpy() for split, table in tables.items()}
    fitted = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(
            found["train"], labels["train"]
        )
        for c in (1e-3, 1e-2, 1e-1, 1)
    ]
    best = max(fitted, key=lambda one: one.score(found["val"], labels["val"]))
    return np.asarray(best.predict(found["test"]))


def plain_timm(tables: dict[str, pd.DataFrame], root: Path, args: argparse.Namespace) -> Predicted:
    """Fine-tune all layers; the epoch that is best on validation."""
    model = network(args.network, args.weights, args.classes)
    model = model.to(memory_format=torch.channels_last)
    loaders = {
        split: DataLoader(
            Photos(table, root, transforms(args.network, split == "train")),
            32,
            shuffle=split == "train",
            drop_last=split == "train",
            num_workers=2,
        )
        for split, table in tables.items()
    }
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=EPOCHS * len(loaders["train"])
    )

    def predicted(split: str) -> Predicted:
        model.eval()
        parts = []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for images, _ in loaders[split]:
                images = images.to(memory_format=torch.channels_last)
                parts.append(model(images).argmax(1).numpy())
        return np.concatenate(parts)

    best, answers = -1, np.empty(0, np.int64)
    for _ in range(EPOCHS):
        model.train()
        for images, labels in loaders["train"]:
            images = images.to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(images)
            torch.nn.functional.cross_entropy(logits.float(), labels).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        right = int((predicted("val") == tables["val"].label).sum())
        if right > best:
            best, answers = right, predicted("test")
    return answers


def fastai(tables: dict[str, pd.DataFrame], root: Path, args: argparse.Namespace) -> Predicted:
    """Its defaults: an epoch of the head, then all layers, with its own augmentation."""
    from fastai.vision import all as vision

    table = pd.concat([tables["train"], tables["val"]])
    table = table.assign(valid=table.split == "val")
    loaders = vision.ImageDataLoaders.from_df(
        table,
        path=root,
        fn_col="id",
        label_col="label",
        valid_col="valid",
        y_block=vision.CategoryBlock(vocab=range(args.classes)),
        item_tfms=vision.Resize(224),
        batch_tfms=vision.aug_transforms(),
        bs=32,
        num_workers=2,
        seed=args.seed,
    )
    weights = {"file": str(args.weights)}
    learner = vision.vision_learner(loaders, args.network, pretrained_cfg_overlay=weights)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS - 1)
        probabilities, _ = learner.get_preds(
            dl=loaders.test_dl([root / name for name in tables["test"].id])
        )
    return np.asarray(probabilities.argmax(1))


def autotimm(tables: dict[str, pd.DataFrame], root: Path, args: argparse.Namespace) -> Predicted:
    """Its defaults: AdamW, a cosine, all layers from the start; without torch.compile."""
    import autotimm as peer

    with tempfile.TemporaryDirectory() as folder:
        files = {f"{split}_csv": Path(folder, f"{split}.csv") for split in tables}
        for split, table in tables.items():
            table[["id", "label"]].to_csv(files[f"{split}_csv"], index=False)
        data = peer.ImageDataModule(
            **files, image_dir=root, image_column="id", label_column="label", batch_size=32
        )
        overlay = {"pretrained_cfg_overlay": {"file": str(args.weights)}}
        backbone = peer.BackboneConfig(args.network, extra_kwargs=overlay)
        model = peer.ImageClassifier(
            backbone, num_classes=args.classes, compile_model=False, seed=args.seed
        )
        trainer = peer.AutoTrainer(
            max_epochs=EPOCHS, logger=False, enable_progress_bar=False, default_root_dir=folder
        )
        trainer.fit(model, datamodule=data)
        data.setup("test")
        model.eval()
        with torch.inference_mode():
            parts = [model(images).argmax(1).numpy() for images, _ in data.test_dataloader()]
    return np.concatenate(parts)


def beside(run: Path, table: pd.DataFrame, predicted: Predicted) -> dict[str, Any]:
    """The run's accuracy on these test images, and how much that is ahead: the 95 % interval."""
    answers = pd.read_csv(run / "data/predictions/predictions.csv").set_index("id").loc[table.id]
    ours = (answers.predicted == answers.actual).to_numpy()
    ahead = ours.astype(float) - (predicted == table.label.to_numpy())
    margin = 1.96 * ahead.std() / len(ahead) ** 0.5
    return {
        "run": round(float(ours.mean()), 4),
        "ahead": [round(float(ahead.mean() + side * margin), 4) for side in (-1, 0, 1)],
    }


def main() -> None:
    """Run one way and print its line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("way", choices=("probe", "timm", "fastai", "autotimm"))
    parser.add_argument("--photos", type=Path, required=True, help="the class folders")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    table, classes = split_table(args.run)
    args.classes = len(classes)
    tables = {name: table[table.split == name] for name in ("train", "val", "test")}
    ways = {"probe": probe, "timm": plain_timm, "fastai": fastai, "autotimm": autotimm}
    predicted = ways[args.way](tables, args.photos, args)
    seconds = time.perf_counter() - STARTED
    accuracy = float((predicted == tables["test"].label.to_numpy()).mean())
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    busy = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    facts = {"way": args.way, "seed": args.seed, "accuracy": round(accuracy, 4)}
    facts |= {"seconds": round(seconds, 1), "processor": round(busy, 1)}
    print(json.dumps(facts | beside(args.run, tables["test"], predicted)))


if __name__ == "__main__":
    main()
