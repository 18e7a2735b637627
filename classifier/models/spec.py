"""The description in a model file: everything that is needed to use its weights.

A model file is a safetensors file. Its header's metadata has one entry, ``classifier``: a JSON
object with the format version and the fields of `ModelSpec`. (One entry, because safetensors writes
several in no fixed order, and the same model must give the same bytes.) No pickle, so that opening
a file never runs code from it.
Format: https://github.com/huggingface/safetensors#format
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval, MinLen

from classifier.core.errors import UserError
from classifier.core.parse import parse
from classifier.core.resize import Resize, resize_in
from classifier.core.resize import described as described_resize
from classifier.core.value_range import Ranges
from classifier.models.decision import Decision

FORMAT = 1
LARGEST = 2048  # pixels a side: what preprocess makes at most
METADATA_KEY = "classifier"

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class ModelSpec:
    """How to rebuild a network and prepare images for it.

    ``name`` and ``args`` go to `registry.build`. ``mean`` and ``std`` have one figure a
    channel on the 0..1 scale; ``resize`` is how an image becomes a square of ``image_size``
    pixels, and ``value_range`` what `classifier.images.decode.decode` wants for images of more than
    8 bits. Logits are divided by ``temperature`` before the softmax. ``extra`` is free for metrics;
    JSON values only. ``decision`` is what follows from the probabilities, None for the most
    probable class.
    """

    name: str
    args: Mapping[str, Any]
    classes: Annotated[tuple[str, ...], MinLen(1)]
    channels: Literal[1, 3]
    image_size: Annotated[int, Interval(ge=1, le=LARGEST)]
    resize: Resize
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Gt(0)], ...]
    temperature: Annotated[float, Interval(gt=0, le=1e6)] = 1.0
    value_range: Ranges = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """What `registry.build` wants to know beside the name and the settings."""
        return {
            "classes": len(self.classes),
            "channels": self.channels,
            "image_size": self.image_size,
        }


def described(spec: ModelSpec) -> dict[str, Any]:
    """The spec as JSON values, without a range of values where the set has 8 bits, or a decision
    where there is none."""
    content = dataclasses.asdict(spec) | {"resize": described_resize(spec.resize)}
    for key in ("value_range", "decision"):
        if not content[key]:
            del content[key]
    return content


def from_description(content: Any) -> ModelSpec:
    """The spec that `described` gave.

    Raises:
        UserError: a key is missing, unknown, or has a value that no spec can have.
    """
    if isinstance(content, Mapping) and isinstance(content.get("resize"), str):
        content = {**content, "resize": dataclasses.asdict(resize_in(content, "spec.resize"))}
    spec = parse(ModelSpec, content, "spec")
    if not len(spec.mean) == len(spec.std) == spec.channels:
        raise UserError("spec.mean and spec.std: one figure a channel is needed.")
    if len(set(spec.classes)) < len(spec.classes):
        raise UserError("spec.classes: a name stands there twice.")
    if any(low >= high for low, high in spec.value_range.values()):
        raise UserError("spec.value_range: the lower value comes first.")
    if spec.decision:
        spec.decision.check(spec.classes)
    return spec


def read_spec(path: PathLike) -> ModelSpec:
    """The spec alone, from the file's header: imports no torch and reads no weights.

    Raises:
        UserError: no such file, or not a model file of this project.
    """
    metadata = _metadata(Path(path))
    try:
        content = json.loads(metadata[METADATA_KEY])
        version = content.pop("format")
    except (KeyError, TypeError, ValueError, RecursionError):
        raise UserError(
            f"{path}: a safetensors file, but not one that this project's train stage wrote"
        ) from None
    if version != FORMAT:
        raise UserError(
            f"{path}: model file format {version}, this version of the project reads {FORMAT}: "
            "use the version that wrote it, or train again"
        )
    try:
        return from_description(content)
    except UserError as error:
        raise damaged(path, str(error).rstrip(".")) from None


def _metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, which is checked to be as long as its header says."""
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: cannot be read ({reason}): train a model first") from None
    except safetensors.SafetensorError as error:
        raise damaged(path, str(error)) from None


def damaged(path: PathLike, reason: str) -> UserError:
    """The error of a file that is no model file, or a damaged one."""
    return UserError(f"{path}: not a model file, or damaged ({reason}): train or download it again")
