"""Files of pretrained weights: where they are, and what their headers say of the images they want.

`python -m classifier weights NAME` writes them, as safetensors with one entry of metadata,
``weights``: a JSON object with the fields of `Weights`. A model file of this project is a start as
well; it says the same in its entry ``classifier``. Reads headers alone, without torch.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval, MinLen

from classifier.core.errors import UserError
from classifier.core.files import sha256
from classifier.core.parse import parse
from classifier.core.resize import Resize, described, resize_in

FOLDER = Path("models/pretrained")
WEIGHTS_KEY, MODEL_KEY = "weights", "classifier"  # of a header's metadata

Figures = Annotated[tuple[float, ...], MinLen(1)]


@dataclass(frozen=True)
class Start:
    """Of the section ``model``, what says where weights come from."""

    name: str
    pretrained: bool | str = False


@dataclass(frozen=True)
class Input:
    """The images that weights were trained with.

    ``image_size`` in pixels; ``mean`` and ``std`` per channel on the 0..1 scale.
    """

    image_size: Annotated[int, Interval(ge=1, le=2048)]
    resize: Resize
    mean: Figures
    std: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)]

    def __str__(self) -> str:
        return f"{self.image_size} pixels, {self.resize}"


@dataclass(frozen=True)
class Weights:
    """What a file of a library's weights says of itself.

    Attributes:
        name: of the network, as timm/resnet18.a1_in1k.
        input: the images that they want.
        source: the address or the file that they came from; ``revision`` is the Hub's commit.
        sha256: of the file that came from there.
        license: as its publisher names it; empty where nobody says.
    """

    name: str
    input: Input
    source: str
    sha256: str
    revision: str = ""
    license: str = ""

    @property
    def network(self) -> str:
        """The name without the tag of the weights."""
        return self.name.partition(".")[0]


def weights_json(weights: Weights) -> dict[str, Any]:
    """The JSON value of it, for the header."""
    content = asdict(weights)
    content["input"]["resize"] = described(weights.input.resize)
    return content


def file_of(start: Start) -> Path | None:
    """The file that ``model.pretrained`` means, which is there; None where it is false.

    A name that ends in 16 hex digits, as `python -m classifier keep` gives it, states the start of
    the content's SHA-256.

    Raises:
        UserError: the file is missing, or does not hold what its name says.
    """
    if start.pretrained is False:
        return None
    if start.pretrained == "imagenet":
        raise UserError(
            "model.pretrained: imagenet is called true now: set it so, and run "
            f"`python -m classifier weights {start.name}` once"
        )
    published = start.pretrained is True
    path = FOLDER / f"{start.name}.safetensors" if published else Path(str(start.pretrained))
    tracked = Path(f"{path}.dvc").is_file()
    if not path.is_file():
        raise UserError(
            f"model.pretrained: {path} does not exist: {_ways_on(start, path, tracked)}"
        )
    stated = re.search(r"-([0-9a-f]{16})$", path.stem)
    if stated and not sha256(path).startswith(stated[1]):
        advice = f"run dvc checkout --force {path}" if tracked else "give it another name"
        raise UserError(
            f"model.pretrained: {path} does not hold what its name says (its SHA-256 does not start"
            f" with {stated[1]}): {advice}"
        )
    return path


def _ways_on(start: Start, path: Path, tracked: bool) -> str:
    if tracked:
        return f"run dvc pull {path}"
    if start.pretrained is not True:
        return "give the path of a file of weights"
    if "/" not in start.name:
        return (
            f"nobody publishes weights of {start.name}: set model.name to a network such as "
            "timm/resnet18, or give the path of a model that `python -m classifier keep` put aside"
        )
    return (
        f"run `python -m classifier weights {start.name}` here, or on a machine with a network and "
        "copy the file"
    )


def said_by(path: Path) -> tuple[Literal["weights", "classifier"], Any]:
    """The kind of a file, by the key of its metadata, and the JSON value behind it.

    Raises:
        UserError: it is damaged, or of no such kind.
    """
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as error:
        metadata, reason = {}, str(getattr(error, "strerror", None) or error)
    else:
        reason = "it does not say which images its weights want"
    for key in (WEIGHTS_KEY, MODEL_KEY):
        if key in metadata:
            try:
                return key, json.loads(metadata[key])  # type: ignore[return-value]
            except (ValueError, RecursionError):
                reason = f"its entry {key} is no JSON"
    raise UserError(
        f"model.pretrained: {path} is no model file of this project, nor one of weights that "
        f"`python -m classifier weights NAME {path}` wrote ({reason}): convert it so, and set "
        "model.pretrained: true"
    )


def weights_in(content: Any, path: Path, start: Start) -> Weights:
    """The facts of a file of a library's weights, which fit the network that is asked for.

    Args:
        content: what `said_by` gave.

    Raises:
        UserError: they are damaged, or of another network.
    """
    try:
        resize = resize_in(content["input"], "input.resize")
        inner = content["input"] | {"resize": asdict(resize)}
        weights = parse(Weights, content | {"input": inner}, "weights")
        if len(weights.input.mean) != 3 or len(weights.input.std) != 3:
            raise UserError("weights.input: mean and std need three figures each")
    except (KeyError, TypeError) as error:
        raise _damaged(path, repr(error)) from None
    except UserError as error:
        raise _damaged(path, str(error).rstrip(".")) from None
    if weights.network != start.name.partition(".")[0]:
        raise UserError(
            f"model.pretrained: {path} holds the weights of {weights.name}, and model.name is "
            f"{start.name}: set model.name: {weights.network}"
        )
    return weights


def input_of(start: Start) -> Input | None:
    """What the weights that ``model`` names want to see; None where it names none.

    Of a model of this project that is what it was trained on.

    Raises:
        UserError: there is no such file, or it is damaged or of another network.
    """
    path = file_of(start)
    if path is None:
        return None
    kind, content = said_by(path)
    if kind == WEIGHTS_KEY:
        return weights_in(content, path, start).input
    try:
        facts = {key: content[key] for key in ("image_size", "mean", "std")}
        return parse(Input, {**facts, "resize": asdict(resize_in(content))}, "spec")
    except (KeyError, TypeError) as error:
        raise _damaged(path, repr(error)) from None
    except UserError as error:
        raise _damaged(path, str(error).rstrip(".")) from None


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"model.pretrained: {path} is damaged ({reason}): bring it again")
