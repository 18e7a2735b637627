"""The galleries of a run: which images they show, in what order, with what captions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from classifier.core.arrays import read_arrays
from classifier.core.softmax import softmax
from classifier.report.figures import data_quality
from classifier.report.figures.tiles import Tile, Tone, color, heat, percent, shaded
from classifier.report.results import Results, Row


@dataclass(frozen=True)
class Gallery:
    """Tiles of one kind, the pixels to show an image at, and a sentence on how to read them."""

    section: str
    name: str
    title: str
    reading: str
    side: int
    tiles: Sequence[Tile]
    columns: int | None = None


def galleries(results: Results, most: int) -> Iterator[Gallery]:
    """Yield every gallery that has images, of up to ``most`` tiles each."""
    suspects, expected = data_quality.label_errors(results, most)
    found = (
        Gallery(
            "data",
            "samples",
            "Training images of each class",
            "As the network gets them, after resizing. Look for images that do not belong.",
            64,
            _samples(results),
        ),
        Gallery(
            "data",
            "augmentation",
            "Augmentation",
            "The same training images under each augmentation alone. What is on is shown at "
            "its own strength, what is off at one that is easy to see. The class must stay "
            "recognizable.",
            48,
            _augmented(results),
        ),
        Gallery(
            "mistakes",
            "predictions",
            "Predictions",
            "Test images drawn at random: what was predicted and how surely, with the actual "
            "class where that was wrong.",
            96,
            _predictions(results, most),
        ),
        Gallery(
            "mistakes",
            "mistakes",
            "Most confident mistakes",
            "Predicted and actual class. Often the label is at fault, or the image shows both."
            + _beside(results),
            96,
            _mistakes(results, most),
        ),
        Gallery(
            "mistakes",
            "uncertain",
            "Least certain images",
            "Images whose first two classes are almost equally likely: worth labelling more of.",
            96,
            _uncertain(results, most),
        ),
        Gallery(
            "mistakes",
            "pair_examples",
            "Examples of the most confused pairs",
            "actual → predicted, the most confident examples first.",
            72,
            _pairs(results),
        ),
        Gallery(
            "quality",
            "label_errors",
            "Likely label errors",
            "The label that was given, the one that confident learning suggests, and how probable "
            f"it is that the given one is wrong. About {expected:.0f} of these {len(suspects)} "
            "are expected to be: the sum of these probabilities, which come from the network's own "
            "ones, with wrong labels taken to be random. Labels that were mixed up between two "
            "similar classes come out too improbable. Look at each before you change it.",
            96,
            suspects,
        ),
        Gallery(
            "quality",
            "duplicates",
            "Duplicates",
            "Pairs of identical images (=), and of near ones, whose perceptual hashes are almost "
            "the same. Marked are pairs across splits, which flatter the score, and with two "
            "labels, one of which is wrong. An excluded image takes no part.",
            80,
            data_quality.duplicates(results, most),
        ),
        Gallery(
            "quality",
            "leaks",
            "Training images that test images may be copies of",
            "Left an image of val or test, right the training image that the network sees as "
            "nearly the same: far nearer than the next ones. Crops, flips and new colors, which "
            "the perceptual hashes miss, are among them, and so are images that are only alike. "
            f"Found: {results.explanation.get('leaks', 0):,}.",
            80,
            data_quality.leaks(results, most),
        ),
        Gallery(
            "quality",
            "doubtful_images",
            "Doubtful images",
            "Blank, dark, bright, blurred or oddly sized ones, in all splits: worth a look before "
            "you trust the scores.",
            96,
            data_quality.doubtful(results, most),
        ),
        Gallery(
            "explanation",
            "gradcam",
            "Grad-CAM",
            "Bright is where the evidence for the predicted class comes from. A bright background "
            "means that the network learnt the surroundings.",
            96,
            _gradcam(results),
        ),
        Gallery(
            "explanation",
            "filters",
            "First-layer filters",
            "The patterns that the first layer looks for, each scaled by itself. Smooth ones have "
            "learnt; noisy ones have not.",
            44,
            _filters(results),
        ),
        Gallery(
            "explanation",
            "feature_maps",
            "One image through the network",
            "The strongest responses of each stage to one image, from edges to coarse parts.",
            72,
            _feature_maps(results),
            1,
        ),
    )
    for gallery in found:
        if gallery.tiles:
            yield gallery


def _samples(results: Results) -> list[Tile]:
    classes = results.data.classes[:200]
    split = "train" if "train" in results.data.splits else results.data.splits[0]
    labels = results.data.labels(split)
    each = 10 if len(classes) <= 12 else 4
    tiles = []
    for label, name in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        if len(rows):
            # Spread over the split, so that a sorted source shows more than its first minutes.
            rows = rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int)]
            images = [results.image(split, row) for row in rows.tolist()]
            tiles.append(Tile(images, name, places=each))
    return tiles


def _augmented(results: Results) -> list[Tile]:
    shown = results.augmentation
    if not shown:
        return []
    tiles = [
        Tile(list(shown["before"]), "as prepared"),
        Tile(list(shown["after"]), "as trained on", "everything that is on", "right"),
    ]
    # What is on comes first.
    for row in np.argsort(~shown["on"], kind="stable").tolist():
        name, setting = str(shown["names"][row]).replace("_", " "), shown["settings"][row]
        is_on = bool(shown["on"][row])
        note = "on" if is_on else "off"
        tone: Tone = "right" if is_on else "plain"
        tiles.append(Tile(list(shown["images"][row]), f"{name} {setting}", note, tone))
    return tiles


def _predictions(results: Results, most: int) -> list[Tile]:
    number = len(results.actual)
    rows = np.random.default_rng(0).permutation(number)[:most]
    chosen = np.sort(rows).tolist()
    classes = results.data.classes
    temperature = results.metrics("details").get("temperature") or 1.0
    tiles = []
    for row in chosen:
        actual, predicted = int(results.actual[row]), int(results.predicted[row])
        right = actual == predicted
        surely = softmax(results.logits[row].astype(np.float64), temperature).max()
        tiles.append(
            Tile(
                [results.image("test", row)],
                f"{classes[predicted]} ·\N{NO-BREAK SPACE}{percent(surely)}",
                "" if right else f"is {classes[actual]}",
                "right" if right else "wrong",
            )
        )
    return tiles


def _beside(results: Results) -> str:
    among = results.explanation.get("neighbors_among")
    if not among:
        return ""
    return (
        f" Beside each, those that the network finds most alike among {among:,} training images, "
        "and their classes."
    )


def _mistakes(results: Results, most: int) -> list[Tile]:
    tiles = []
    for row in results.explained("mistakes", row=int, probability=float)[:most]:
        found = results.neighbors.get(("test", row["row"]), [])
        near = f" · near: {', '.join(label for _, label in found)}" if found else ""
        tiles.append(
            Tile(
                [
                    results.image("test", row["row"]),
                    *(results.image("train", train_row) for train_row, _ in found),
                ],
                f"{row['predicted']} ·\N{NO-BREAK SPACE}{percent(row['probability'])}",
                f"is {row['actual']}{near}",
                "wrong",
                1 + len(found),
            )
        )
    return tiles


def _uncertain(results: Results, most: int) -> list[Tile]:
    return [
        Tile(
            [results.image("test", row["row"])],
            f"{row['predicted']} ·\N{NO-BREAK SPACE}{percent(row['probability'])}",
            f"or {row['runner_up']}" + _unless(row["actual"], row["predicted"], row["runner_up"]),
            "right" if row["actual"] == row["predicted"] else "wrong",
        )
        for row in results.explained("uncertain", row=int, probability=float)[:most]
    ]


def _unless(actual: str, *named: str) -> str:
    return "" if actual in named else f", is {actual}"


def _pairs(results: Results) -> list[Tile]:
    tiles = []
    for row in results.explained("confused_pairs", count=int, fraction=float)[:12]:
        rows = [int(place) for place in row["rows"].split()][:5]
        images = [results.image("test", place) for place in rows]
        count = "1 image" if row["count"] == 1 else f"{row['count']} images"
        tiles.append(
            Tile(
                images,
                f"{row['actual']} → {row['predicted']}",
                f"{count}, {100 * row['fraction']:.0f}\N{NO-BREAK SPACE}% of {row['actual']}",
                places=5,
            )
        )
    return tiles


def _gradcam(results: Results) -> list[Tile]:
    images, maps = results.array("gradcam_images"), results.array("gradcam_heat")
    if images is None or maps is None:
        return []
    tiles = []
    for row in results.explained("gradcam", index=int, probability=float):
        index = row["index"]
        pair = [color(images[index]), heat(images[index], maps[index])]
        tiles.append(_judged(row, pair))
    return tiles


def _judged(row: Row, images: Sequence[np.ndarray]) -> Tile:
    right = row["actual"] == row["predicted"]
    return Tile(
        images,
        f"{row['predicted']} ·\N{NO-BREAK SPACE}{percent(row['probability'])}",
        "" if right else f"is {row['actual']}",
        "right" if right else "wrong",
        len(images),
    )


def _filters(results: Results) -> list[Tile]:
    weights = results.array("filters")
    if weights is None:
        return []
    images = []
    for kernel in np.asarray(weights)[:64]:
        if kernel.shape[0] == 3:
            span = np.ptp(kernel) or 1.0
            image = (255 * (kernel - kernel.min()) / span).round().astype(np.uint8)
            images.append(image.transpose(1, 2, 0))
        else:
            images.append(shaded(kernel.mean(axis=0)))
    return [Tile(images[at : at + 8], places=8) for at in range(0, len(images), 8)]


def _feature_maps(results: Results) -> list[Tile]:
    path = results.folders.explain / "feature_maps.npz"
    if not path.exists():
        return []
    stages = read_arrays(path, "evaluate")
    tiles = [Tile([stages.pop("image")], "the image")]
    for name, all_maps in stages.items():
        maps = all_maps[:12]
        note = " × ".join(str(edge) for edge in maps.shape[1:])
        tiles.append(Tile([shaded(one) for one in maps], name, note, places=len(maps)))
    return tiles
