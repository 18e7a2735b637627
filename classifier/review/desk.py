"""What lies on the table of whoever reviews: the images, the queues, and what was decided."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifier.core.errors import UserError
from classifier.core.files import read_json
from classifier.core.softmax import softmax
from classifier.core.types import BoolArray, Float32Array, Int64Array, TextArray
from classifier.core.value_range import ranges_in
from classifier.dataset.prepared import PreparedData
from classifier.images.manifest import Manifest
from classifier.images.split_table import read_splits
from classifier.images.store import CLASSES, REJECTED
from classifier.review import queues
from classifier.review.decisions import Decisions
from classifier.review.held_out import HeldOut, held_out
from classifier.review.pictures import Pictures
from classifier.review.queues import Queue
from classifier.splits.corrections import Corrections

GUESSES, NEIGHBORS = 5, 6  # classes and training images that are shown beside an image
_NOBODY = -1


@dataclass(frozen=True)
class Project:
    """Where everything is, below the project's top folder."""

    raw: Path = Path("data/raw")
    splits: Path = Path("data/splits/split.csv")
    prepared: Path = Path("data/prepared")
    predictions: Path = Path("data/predictions")
    leaks: Path = Path("data/explain/leaks.csv")
    quality: Path = Path("metrics/quality.json")
    corrections: Path = Path("data/corrections.csv")
    lock: Path = Path(".run/corrections.lock")


class Embeddings:
    """The embeddings that evaluate kept, by row of the manifest."""

    def __init__(self, path: Path, data: PreparedData, manifest: Manifest) -> None:
        """Read them; a run that kept none has none."""
        self.vectors: dict[str, Any] = {}
        self.rows: dict[str, Int64Array] = {}
        self._place = np.full((len(manifest), 2), _NOBODY, np.int32)  # which split's, and where
        known = np.load(path) if path.exists() else {}
        for number, split in enumerate(split for split in data.splits if split in known):
            rows = manifest.rows(data.ids(split))[known[f"{split}_rows"]]
            chosen = rows >= 0
            self.rows[split] = rows[chosen]
            self.vectors[split] = known[split][chosen]
            self._place[self.rows[split], 0] = number
            self._place[self.rows[split], 1] = np.arange(len(self.rows[split]))
        train = self.vectors.get("train", np.zeros((0, 1), np.float16))
        self._train: Float32Array = np.asarray(train, np.float32)

    def nearest(self, row: int, count: int) -> list[tuple[int, float]]:
        """Rows of the nearest training images but for itself, with their cosine distance, 0..2."""
        number, place = self._place[row].tolist()
        if number == _NOBODY or not len(self._train):
            return []
        vector = np.asarray(list(self.vectors.values())[number][place], np.float32)
        distance = 1 - self._train @ vector
        first = np.argpartition(distance, min(count, len(distance) - 1))[: count + 1]
        first = first[np.argsort(distance[first], kind="stable")]
        found = [(int(self.rows["train"][one]), max(0.0, float(distance[one]))) for one in first]
        return [one for one in found if one[0] != row][:count]


class Desk:
    """All that the page asks for."""

    def __init__(self, project: Project, folds: Path | None) -> None:
        """Read what the stages left behind, and make the queues.

        Raises:
            UserError: the pipeline was not run, or files of it are of different runs.
        """
        self.decisions = Decisions(project.corrections, project.lock)
        self.manifest = Manifest.read(project.raw)
        self.classes: list[str] = read_json(project.raw / CLASSES)
        self.splits: TextArray = read_splits(project.splits, self.manifest)[0]
        data = PreparedData.open(project.prepared)
        if data.classes != self.classes:
            raise UserError("data/prepared has other classes than data/raw: run dvc repro.")
        self.pictures = Pictures(project.raw, self.manifest, ranges_in(data.meta))
        number = {name: label for label, name in enumerate(self.classes)}
        codes = np.array([number.get(name, -1) for name in self.manifest.label.categories])
        self.source = codes[self.manifest.label.codes]
        self._decided: tuple[Corrections, BoolArray] = ({}, np.zeros(len(self.manifest), bool))
        held = held_out(self.manifest, self._labels(), data, project.predictions, folds)
        self._held = held
        self._embeddings = Embeddings(project.predictions / "embeddings.npz", data, self.manifest)
        self._opinions = np.full((len(self.manifest), 2), _NOBODY, np.int32)
        for kind, one in enumerate(held.values()):
            self._opinions[one.rows, 0] = kind
            self._opinions[one.rows, 1] = np.arange(len(one.rows))
        self.queues = {queue.name: queue for queue in self._queues(project)}

    def _labels(self) -> Int64Array:
        """[N] the class of each image that holds now."""
        labels = self.source.copy()
        rows = self.decisions.rows()
        for row, one in zip(self.manifest.rows(rows).tolist(), rows.values(), strict=True):
            if row >= 0 and one.label in self.classes:
                labels[row] = self.classes.index(one.label)
        return labels

    def _queues(self, project: Project) -> list[Queue]:
        embedded = self._embeddings
        unlabelled = self._held.get("unlabelled")
        vectors = embedded.vectors.get("unlabelled")
        where = np.zeros(0, np.int64)
        if unlabelled is not None and vectors is not None:
            place = np.full(len(self.manifest), _NOBODY)
            place[unlabelled.rows] = np.arange(len(unlabelled.rows))
            where = place[embedded.rows["unlabelled"]]
        train = embedded.vectors.get("train", np.zeros((0, 1), np.float16))
        return [
            queues.label_errors(self._held, self.classes),
            queues.near_duplicates(self.manifest, self.splits, project.quality, project.leaks),
            queues.uncertain(self._held, self.classes),
            queues.unlabelled(self._held, vectors, where, train),
            queues.rejected(project.raw / REJECTED),
        ]

    def decided(self) -> BoolArray:
        """[N] which images the table says something of."""
        rows, (before, found) = self.decisions.rows(), self._decided
        if before is not rows:
            found = found.copy()
            for names, there in (
                (before.keys() - rows.keys(), False),
                (rows.keys() - before.keys(), True),
            ):
                places = self.manifest.rows(names)
                found[places[places >= 0]] = there
            self._decided = (rows, found)
        return found

    def counts(self) -> dict[str, int]:
        """How many images of each queue are not decided about."""
        decided = self.decided()
        return {
            name: int((~decided[queue.rows]).sum()) if not queue.files else len(queue.files)
            for name, queue in self.queues.items()
        }

    def next_place(self, name: str, after: int) -> int | None:
        """The next place of a queue that is not decided about, from the start again at its end."""
        queue = self.queues[name]
        if queue.files:
            return after + 1 if after + 1 < len(queue.rows) else 0
        open_ = np.flatnonzero(~self.decided()[queue.rows])
        if not len(open_):
            return None
        later = open_[open_ > after]
        return int(later[0] if len(later) else open_[0])

    def item(self, name: str, place: int) -> dict[str, Any]:
        """What is shown of a place in a queue."""
        queue = self.queues[name]
        about = {"place": place, "total": len(queue.rows), "why": queue.why[place]}
        if queue.files:
            return {**about, "row": None, "id": queue.files[place]}
        partner = int(queue.partners[place]) if queue.partners is not None else _NOBODY
        guess = int(queue.suggested[place]) if queue.suggested is not None else _NOBODY
        ahead = self.next_place(name, place)
        return {
            **self.image(int(queue.rows[place]), partner if partner != _NOBODY else None),
            **about,
            "suggested": self.classes[guess] if guess != _NOBODY else None,
            "ahead": int(queue.rows[ahead]) if ahead is not None else None,
        }

    def image(self, row: int, partner: int | None = None) -> dict[str, Any]:
        """What is shown of an image, wherever it is met."""
        manifest = self.manifest
        name = str(manifest.id[row])
        said = self.decisions.rows().get(name)
        who, guesses = self._opinion(row)
        near = self._embeddings.nearest(row, NEIGHBORS)
        return {
            "row": row,
            "id": name,
            "width": int(manifest.width[row]),
            "height": int(manifest.height[row]),
            "split": str(self.splits[row]),
            "label": str(manifest.label[row]),
            "decision": said._asdict() if said else None,
            "who": who,
            "guesses": guesses,
            "partner": self._beside(partner) if partner is not None else None,
            "neighbors": [{**self._beside(one), "distance": distance} for one, distance in near],
            "suggested": None,
            "ahead": None,
            "why": "",
            "place": None,
        }

    def _beside(self, row: int) -> dict[str, Any]:
        label, split = str(self.manifest.label[row]), str(self.splits[row])
        return {"row": row, "id": str(self.manifest.id[row]), "label": label, "split": split}

    def _opinion(self, row: int) -> tuple[str, list[dict[str, Any]]]:
        kind, place = self._opinions[row].tolist()
        if kind == _NOBODY:
            return "", []
        one: HeldOut = list(self._held.values())[kind]
        found = softmax(np.asarray(one.logits[place], np.float64), one.temperature)
        order = np.argsort(-found, kind="stable")[:GUESSES].tolist()
        return one.who, [{"class": self.classes[k], "probability": float(found[k])} for k in order]

    def decide(self, row: int, action: str, label: str | None, reason: str) -> str:
        """Write a decision; what was done, as a sentence.

        ``action`` is exclude, keep or class, which stands for relabel, label or keep, whichever it
        comes to.

        Raises:
            UserError: it cannot be written, or makes no sense for this image.
        """
        name, given = str(self.manifest.id[row]), str(self.manifest.label[row])
        if action == "class":
            if label not in self.classes:
                raise UserError(f"{label!r} is not a class.")
            action = "label" if not given else "keep" if label == given else "relabel"
        if action == "keep" and not given:
            raise UserError(f"{name} has no label that could be kept: give it one.")
        said = label if action in ("relabel", "label") else ""
        self.decisions.put(name, action, said or "", reason)
        done = {
            "relabel": f"{name}: {given} becomes {label}.",
            "label": f"{name}: labelled {label}.",
            "keep": f"{name}: {given} is kept.",
            "exclude": f"{name}: excluded.",
        }
        return done[action]
