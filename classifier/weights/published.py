"""What timm and torchvision know of the weights of their networks."""

import fnmatch
from dataclasses import dataclass
from typing import Any

from classifier.core.errors import UserError
from classifier.core.pretrained import Input
from classifier.core.resize import Interpolation, Mode, Resize
from classifier.models.networks.timm import timm_names
from classifier.models.networks.torchvision import torchvision_names
from classifier.models.registry import TIMM, TORCHVISION, ModelParams

# torchvision's weights of these two come from TensorFlow, with this mean and deviation.
_TENSORFLOW = ("googlenet", "inception_v3")
_HALF = (0.5, 0.5, 0.5)
_MODES: dict[str, Mode] = {"center": "crop", "squash": "squash", "border": "pad"}


@dataclass(frozen=True)
class Published:
    """Weights of a network.

    Attributes:
        name: of the network and, of timm's, the tag of the weights.
        input: the images that they want.
        license: as the library names it; empty where it does not.
        repository: where they are on the Hugging Face Hub; None: not there.
        url: another address of them; None: there is none.
    """

    name: str
    input: Input
    license: str
    repository: str | None = None
    url: str | None = None


def published(name: str) -> Published:
    """What is known of the weights of ``timm/NAME``, ``timm/NAME.TAG`` or ``torchvision/NAME``.

    Raises:
        UserError: there is no such network.
    """
    if not name.startswith((TIMM, TORCHVISION)):
        raise UserError(f"{name}: weights are published for timm/NAME and torchvision/NAME alone")
    ModelParams(name)
    library, _, short_name = name.partition("/")
    return _of_timm(short_name) if f"{library}/" == TIMM else _of_torchvision(short_name)


def names(pattern: str = "") -> list[str]:
    """The names that weights are published for; all, or those that ``pattern`` is a part of.

    Args:
        pattern: a part of a name, in any case; * and ? stand for other letters.
    """
    import timm

    classifiers = set(timm_names())
    found = [
        TIMM + name for name in timm.list_pretrained() if name.partition(".")[0] in classifiers
    ]
    found += [TORCHVISION + name for name in torchvision_names()]
    return [name for name in found if fnmatch.fnmatch(name.lower(), f"*{pattern.lower()}*")]


def _of_timm(name: str) -> Published:
    import timm

    facts: Any = timm.get_pretrained_cfg(name)
    tagged = f"{name.partition('.')[0]}.{facts.tag}" if facts.tag else name
    interpolation: Interpolation = "bilinear" if facts.interpolation == "bilinear" else "bicubic"
    mode = _MODES[facts.crop_mode]
    # Above 1, as a few have it, timm pads images that it has made too small.
    fraction = min(facts.crop_pct, 1.0) if mode != "pad" else 1.0
    resize = Resize(mode, interpolation, fraction)
    side = int(facts.input_size[-1])
    return Published(
        name=TIMM + tagged,
        input=Input(side, resize, tuple(facts.mean), tuple(facts.std)),
        license=facts.license or "",
        repository=facts.hf_hub_id,
        url=None if facts.custom_load else facts.url,
    )


def _of_torchvision(name: str) -> Published:
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    seen = weights.transforms()
    side, scaled = seen.crop_size[0], seen.resize_size[0]
    resize = Resize("crop", seen.interpolation.value, side / scaled)
    of_tensorflow = name in _TENSORFLOW
    return Published(
        name=TORCHVISION + name,
        input=Input(
            image_size=side,
            resize=resize,
            mean=_HALF if of_tensorflow else tuple(seen.mean),
            std=_HALF if of_tensorflow else tuple(seen.std),
        ),
        license=weights.meta.get("license", "bsd-3-clause"),
        url=weights.url,
    )
