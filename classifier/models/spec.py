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
from typing import Any

from classifier.core.errors import UserError
from classifier.core.value_range import Ranges, ranges_in

FORMAT = 1
METADATA_KEY = "classifier"

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class ModelSpec:
    """How to rebuild a network and prepare images for it.

    ``name`` and ``args`` go to `registry.build`. ``mean`` and ``std`` have one figure a
    channel on the 0..1 scale; ``resize`` is the way of `classifier.images.resize.to_array`, and
    ``value_range`` what `classifier.images.decode.decode` wants for images of more than 8 bits.
    Logits are divided by ``temperature`` before the softmax. ``extra`` is free for metrics; JSON
    values only.
    """

    name: str
    args: Mapping[str, Any]
    classes: tuple[str, ...]
    channels: int
    image_size: int
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float = 1.0
    value_range: Ranges = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """What `registry.build` wants to know beside the name and the settings."""
        return {
            "classes": len(self.classes),
            "channels": self.channels,
            "image_size": self.image_size,
        }


def described(spec: ModelSpec) -> dict[str, Any]:
    """The spec as JSON values, without a range of values where the set has 8 bits."""
    content = dataclasses.asdict(spec)
    if not spec.value_range:
        del content["value_range"]
    return content


def from_description(content: Mapping[str, Any]) -> ModelSpec:
    """The spec that `described` gave; an error of Python's own where something is wrong."""
    lists = {name: tuple(content[name]) for name in ("classes", "mean", "std")}
    return ModelSpec(**{**content, **lists, "value_range": ranges_in(content)})


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
    except (AttributeError, KeyError, TypeError) as error:
        raise damaged(path, f"its description is not complete: {error}") from None


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
