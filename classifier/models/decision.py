"""From what a network says of an image to an answer: thresholds, *not sure*, *none of these*.

The stage ``train`` writes the model file and ``evaluate`` chooses the thresholds, so that another
threshold trains nothing anew. They lie beside the model file in ``decision.json``, which names the
model that they were chosen for by its digest; ``spec.decision`` of an exported file holds them too.
What an image must score to be of any class at all is in such files alone: `classifier unknown`
chooses it by images that only its user has.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Interval

from classifier.core.errors import UserError
from classifier.core.files import replacing, sha256
from classifier.core.parse import parse
from classifier.core.types import BoolArray, Float64Array, FloatArray, Int64Array

FILE = "decision.json"
NOT_SURE, NONE_OF_THESE = "not sure", "none of these"  # answers in tables and on screens
MOST_KNOWN = 20_000  # embeddings that a file may hold to measure distances by

Fraction = Annotated[float, Interval(ge=0, le=1)]
KnownBy = Literal["probability", "energy", "distance"]


class Verdict(NamedTuple):
    """What is said of one image: `Answers` of one."""

    label: int
    confidence: float
    sure: bool
    known: bool

    def text(self, classes: Sequence[str]) -> str:
        """The same as words: a class, *not sure*, or *none of these*."""
        if self.sure:
            return classes[self.label]
        return NOT_SURE if self.known else NONE_OF_THESE


class Answers(NamedTuple):
    """What is said of N images: a class each [N], its probability [N], whether it is sure, and
    whether the image is known, that is, of any class at all. What is not known is not sure."""

    labels: Int64Array
    confidence: Float64Array
    sure: BoolArray
    known: BoolArray

    def each(self) -> list[Verdict]:
        """They one by one."""
        columns = (column.tolist() for column in self)
        return [Verdict(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Decision:
    """How an answer follows from calibrated probabilities.

    ``thresholds`` are by class. Of two classes, ``positive_class`` alone has one, and is the answer
    from it on; below it the other class is. Of more, every class has one: the answer is the most
    probable of the classes that reach theirs, and where none does, the most probable of all, *not
    sure*. Without thresholds the most probable class is the answer. An answer of less probability
    than ``not_sure_below`` is *not sure*.

    ``known_by`` names the score (`classifier.metrics.unknown`) by which an image is of one of the
    classes: below ``known_from`` the answer is *none of these*. Distances are to ``known_images``
    embeddings, which the model file holds beside its weights.

    ``rule`` (as ``evaluate.threshold`` has it), ``target_accuracy`` and ``certainty`` (the
    probability, 0 to 1, that the target holds above ``not_sure_below``) say where the numbers are
    from.
    """

    rule: str | None = None
    positive_class: str | None = None
    thresholds: Mapping[str, Fraction] = field(default_factory=dict)
    not_sure_below: Fraction = 0.0
    target_accuracy: Fraction | None = None
    certainty: Fraction | None = None
    known_by: KnownBy | None = None
    known_from: float = 0.0
    known_images: Annotated[int, Interval(ge=0, le=MOST_KNOWN)] = 0

    def answers(
        self, probabilities: FloatArray, classes: Sequence[str], scores: FloatArray | None = None
    ) -> Answers:
        """The answers that follow from probabilities [N, K] of ``classes``.

        ``scores`` [N] are those of ``known_by``, where it names one.
        """
        rows = np.arange(len(probabilities))
        known = np.ones(len(rows), bool)
        if self.known_by is not None:
            assert scores is not None
            known = np.asarray(scores >= np.float64(self.known_from))
        sure = np.ones(len(rows), bool)
        if self.positive_class is not None:
            positive = classes.index(self.positive_class)
            reached = probabilities[:, positive] >= np.float64(self.thresholds[self.positive_class])
            labels = np.where(reached, positive, 1 - positive)
        elif self.thresholds:
            needed = np.array([self.thresholds[name] for name in classes])
            reached = probabilities >= needed
            sure = np.asarray(reached.any(axis=1))
            open_to = reached | ~sure[:, None]
            labels = np.where(open_to, probabilities, -1.0).argmax(axis=1)
        else:
            labels = probabilities.argmax(axis=1)
        confidence = np.asarray(probabilities[rows, labels], np.float64)
        sure &= (confidence >= self.not_sure_below) & known
        return Answers(labels, confidence, sure, known)

    def texts(
        self, probabilities: FloatArray, classes: Sequence[str], scores: FloatArray | None = None
    ) -> list[str]:
        """The same as words."""
        return [one.text(classes) for one in self.answers(probabilities, classes, scores).each()]

    def verdict(self, scored: FloatArray, classes: Sequence[str]) -> Verdict:
        """What is said of one image, of what a predictor's ``scored`` gives for it, [K + 1]."""
        (found,) = self.answers(scored[None, :-1], classes, scored[None, -1]).each()
        return found

    def check(self, classes: Sequence[str]) -> None:
        """Raise UserError where it is not one of ``classes``."""
        if self.positive_class is not None:
            fits = len(classes) == 2 and {*self.thresholds} == {self.positive_class} <= {*classes}
        else:
            fits = not self.thresholds or {*self.thresholds} == {*classes}
        if not fits:
            raise UserError("decision.thresholds: they are not those of the classes.")
        if (self.known_by == "distance") != (self.known_images > 0):
            raise UserError("decision.known_images: distances need some, and other scores none.")


def write(model: Path, decision: Decision | None) -> None:
    """Write ``decision.json`` beside the model file that the decision was made for, or that none
    was."""
    content = {
        "model": sha256(model),
        "decision": None if decision is None else dataclasses.asdict(decision),
    }
    # Every digit of a threshold counts, where `write_json` would round.
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    with replacing(model.with_name(FILE)) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def beside(model: Path) -> Decision | None:
    """What ``decision.json`` beside a model file says of it, None where it says nothing.

    Raises:
        UserError: the file is damaged.
    """
    path = model.with_name(FILE)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    return made_for(model, content, path)


def made_for(model: Path, content: Any, path: Path) -> Decision | None:
    """The decision in the ``content`` of a ``decision.json``, where it was made for ``model``.

    Args:
        path: of the file, for its errors.

    Raises:
        UserError: the content is not what `write` writes.
    """
    try:
        found, digest = content["decision"], content["model"]
        if found is None:
            return None
        decision = parse(Decision, found, "decision")
        if decision.known_by is not None:  # the embeddings are in no file that lies beside it
            raise UserError("decision.known_by: evaluate chooses none.")
    except (KeyError, TypeError, UserError):
        raise UserError(f"{path}: damaged: run dvc repro evaluate, or dvc checkout.") from None
    if digest == sha256(model):
        return decision
    if model.name == "model.safetensors":  # others in the folder are not evaluate's
        print(
            f"warning: {path} is of another model, so this one answers without its thresholds: "
            "run dvc repro evaluate",
            file=sys.stderr,
        )
    return None
