"""What the stages leave behind, made up in a moment, for tests of the page that reviews it."""

import io
from pathlib import Path

import numpy as np

from classifier.core.arrays import write_arrays
from classifier.core.files import write_json
from classifier.images.manifest import Manifest
from classifier.images.split_table import write_splits
from classifier.images.store import Record, shard_writer, write_manifest
from classifier.metrics.neighbors import unit
from classifier.preprocessing.prepare import PreprocessParams, prepare
from classifier.splits.assign import SplitParams, assign
from classifier.splits.duplicates import near_duplicates
from classifier.splits.quality import report
from tests.support.manifests import packed, photo

CLASSES = ["cat", "dog", "owl"]
WRONG = 5  # labels of train, and as many of test, that the networks disagree with
UNLABELLED = 6


def made_up(root: Path, images: int = 120) -> Manifest:
    """Fill ``root``; an image's true class is its number modulo 3, but the first ones of a split
    are labelled with the class after it."""
    raw = root / "data/raw"
    rng = np.random.default_rng(0)
    count = images + UNLABELLED
    true = np.arange(count) % 3
    pictures = [photo(number) for number in range(count)]
    pictures[images - 1] = pictures[0]  # copies with two labels
    labels = [CLASSES[kind] for kind in true]
    labels[images:] = [""] * UNLABELLED
    before = packed(root / "before", zip(labels, pictures, strict=True))
    splits = assign(before, SplitParams(seed=0, test_fraction=0.25, val_fraction=0.2))
    for split in ("train", "test"):
        for row in np.flatnonzero(splits == split)[:WRONG]:
            labels[row] = CLASSES[(true[row] + 1) % 3]
    manifest = packed(raw, zip(labels, pictures, strict=True))
    write_json(raw / "source.json", {})
    (raw / "classes.json").write_text('["cat", "dog", "owl"]')
    (raw / "rejected.csv").write_text("id,path,reason\nx,<b>broken</b>.png,it is cut off\n")
    write_splits(root / "data/splits/split.csv", manifest, splits)
    near = near_duplicates(manifest, raw, 8, 1)
    write_json(root / "metrics/quality.json", report(manifest, splits, near, 1).metrics)
    params = PreprocessParams(image_size=16, channels=3, resize="squash", normalize="unit")
    data = prepare(raw, manifest, splits, CLASSES, params, root / "data/prepared")

    logits = rng.normal(size=(count, 3)) + 7 * np.eye(3)[true]
    places = {split: manifest.rows(data.ids(split)) for split in data.splits}
    folder = root / "data/predictions"
    folder.mkdir(parents=True)
    arrays = {}
    for split, rows in places.items():
        if split != "train":
            np.save(folder / f"{split}_logits.npy", logits[rows].astype(np.float32))
        arrays |= {f"{split}_rows": np.arange(len(rows)), split: unit(logits[rows])}
    write_arrays(folder / "embeddings.npz", arrays)
    folds = root / "runs/cv"
    folds.mkdir(parents=True)
    held = np.concatenate([places["train"], places["val"]])
    np.save(folds / "out_of_fold_logits.npy", logits[held].astype(np.float32))
    (folds / "out_of_fold.csv").write_text("id\n" + "".join(f"{manifest.id[n]}\n" for n in held))
    write_json(folds / "folds.json", {"classes": CLASSES})
    (root / "data/corrections.csv").write_text("id,action,label,reason,date\n")
    return manifest


def many(root: Path, count: int, kinds: int = 10) -> None:
    """A project of ``count`` images, all of one file, in which every one is in some queue."""
    raw = root / "data/raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    photo(0, (64, 64)).save(file, "jpeg")
    with shard_writer(raw / "shard-00000.tar") as add:
        place = add("0.jpg", file.getvalue())
    labels = rng.integers(0, kinds, count)
    write_manifest(
        raw,
        (
            Record(
                f"images/of/a/folder/{n:07d}.jpg", f"class {labels[n]}", "", "", 64, 64, "RGB",
                f"{n:032x}", f"{n:016x}", *place
            )
            for n in range(count)
        ),
    )  # fmt: skip
    manifest = Manifest.read(raw)
    classes = [f"class {n}" for n in range(kinds)]
    (raw / "classes.json").write_text(str(classes).replace("'", '"'))
    splits = np.where(np.arange(count) % 10 == 0, "test", "train").astype("<U10")
    write_splits(root / "data/splits/split.csv", manifest, splits)
    prepared = root / "data/prepared"
    prepared.mkdir(parents=True)
    counts = {name: int((splits == name).sum()) for name in ("train", "test")}
    meta = {"classes": classes, "counts": counts, "image_size": 64, "channels": 3}
    write_json(prepared / "meta.json", meta)
    index = "id,split,row,label,width,height\n"
    for name in ("train", "test"):
        for row, number in enumerate(np.flatnonzero(splits == name)):
            index += f"{manifest.id[number]},{name},{row},x,64,64\n"
    (prepared / "index.csv").write_text(index)
    predictions, folds = root / "data/predictions", root / "runs/cv"
    predictions.mkdir(parents=True)
    folds.mkdir(parents=True)
    logits = rng.normal(size=(count, kinds)).astype(np.float32)  # finds most labels wrong
    np.save(predictions / "test_logits.npy", logits[splits == "test"])
    np.save(folds / "out_of_fold_logits.npy", logits[splits == "train"])
    ids = manifest.id[splits == "train"].tolist()
    (folds / "out_of_fold.csv").write_text("id\n" + "".join(f"{name}\n" for name in ids))
    write_json(folds / "folds.json", {"classes": classes})
    vectors = unit(rng.normal(size=(count, 128)).astype(np.float32))
    arrays = {}
    for name in ("train", "test"):
        arrays |= {f"{name}_rows": np.arange(counts[name]), name: vectors[splits == name]}
    write_arrays(predictions / "embeddings.npz", arrays)
    (root / "data/corrections.csv").write_text("id,action,label,reason,date\n")
