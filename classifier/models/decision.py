"""From the probabilities of an image to an answer: thresholds, and *not sure*.

The stage ``train`` writes the model file and ``evaluate`` chooses the thresholds, so that another
threshold trains nothing anew. They lie beside the model file in ``decision.json``, which names the
model that they were chosen for by its digest; ``spec.decision`` of an exported file holds them too.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Interval

from classifier.core.errors import UserError
from classifier.core.files import replacing, sha256
from classifier.core.parse import parse
from classifier.core.types import BoolArray, Float64Array, FloatArray, Int64Array

FILE = "decision.json"
NOT_SURE = "not sure"  # the answer in tables and on screens

Fraction = Annotated[float, Interval(ge=0, le=1)]


class Answers(NamedTuple):
    """What is said of N images: a class each [N], its probability [N], and whether it is sure."""

    labels: Int64Array
    confidence: Float64Array
    sure: BoolArray


@dataclass(frozen=True)
class Decision:
    """How an answer follows from calibrated probabilities.

    ``thresholds`` are by class. Of two classes, ``positive_class`` alone has one, and is the answer
    from it on; below it the other class is. Of more, every class has one: the answer is the most
    probable of the classes that reach theirs, and where none does, the most probable of all, *not
    sure*. Without thresholds the most probable class is the answer. An answer of less probability
    than ``not_sure_below`` is *not sure*.

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

    def answers(self, probabilities: FloatArray, classes: Sequence[str]) -> Answers:
        """The answers that follow from probabilities [N, K] of ``classes``."""
        rows = np.arange(len(probabilities))
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
        return Answers(labels, confidence, sure & (confidence >= self.not_sure_below))

    def texts(self, probabilities: FloatArray, classes: Sequence[str]) -> list[str]:
        """The same as words: a class, or *not sure*."""
        labels, _, sure = self.answers(probabilities, classes)
        said = zip(labels.tolist(), sure.tolist(), strict=True)
        return [classes[label] if known else NOT_SURE for label, known in said]

    def check(self, classes: Sequence[str]) -> None:
        """Raise UserError where it is not one of ``classes``."""
        if self.positive_class is not None:
            fits = len(classes) == 2 and {*self.thresholds} == {self.positive_class} <= {*classes}
        else:
            fits = not self.thresholds or {*self.thresholds} == {*classes}
        if not fits:
            raise UserError("decision.thresholds: they are not those of the classes.")


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
