"""The networks that ``model.name`` can choose, and the one way to build them.

To add one: a file here with a frozen dataclass of settings and a function
``(settings, classes, channels, image_size) -> Classifier``, a line in ``NETWORKS``, and a field in
``ModelParams``.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Len
from torch import nn

from classifier.core.errors import UserError, suggestion
from classifier.core.parse import parse
from classifier.models.classifier import Classifier, Entry, TestTimeAugmentation
from classifier.models.neighbors import NearestNeighbors
from classifier.models.networks.alexnet import AlexnetParams, alexnet
from classifier.models.networks.cnn import CnnParams, cnn
from classifier.models.networks.convnext import ConvnextParams, convnext
from classifier.models.networks.ensemble import EnsembleParams, ensemble
from classifier.models.networks.fast import FastParams, fast
from classifier.models.networks.inception import InceptionParams, inception
from classifier.models.networks.layers import require_size
from classifier.models.networks.lenet import LenetParams, lenet
from classifier.models.networks.mlp import MlpParams, mlp
from classifier.models.networks.resnet import ResnetParams, resnet
from classifier.models.networks.timm import TimmParams, timm_names, timm_network, timm_tags
from classifier.models.networks.torchvision import (
    TorchvisionParams,
    torchvision_names,
    torchvision_network,
)
from classifier.models.networks.vgg import VggParams, vgg
from classifier.models.networks.vit import VitParams, vit
from classifier.models.networks.wide_resnet import WideResnetParams, wide_resnet

TORCHVISION = "torchvision/"
TIMM = "timm/"
# Networks that compute with tensors while they are built, which the device `meta` cannot.
COMPUTES = f"{TORCHVISION}regnet"
MOST_NEIGHBORS = 200_000  # training images that a model file may hold the embeddings of


@dataclass(frozen=True)
class Network:
    """A registry entry: settings, the function that builds from them, and the least image size."""

    params: type[Any]
    build: Callable[[Any, int, int, int], Classifier]
    smallest: int = 4  # pixels


NETWORKS: dict[str, Network] = {
    "mlp": Network(MlpParams, mlp),
    "cnn": Network(CnnParams, cnn),
    "lenet": Network(LenetParams, lenet),
    "alexnet": Network(AlexnetParams, alexnet),
    "vgg": Network(VggParams, vgg),
    "resnet": Network(ResnetParams, resnet),
    "inception": Network(InceptionParams, inception),
    "wide_resnet": Network(WideResnetParams, wide_resnet),
    "convnext": Network(ConvnextParams, convnext),
    "vit": Network(VitParams, vit),
    "fast": Network(FastParams, fast),
}


@dataclass(frozen=True)
class ModelParams:
    """The section ``model`` of params.yaml. Each network has its own settings under its name."""

    name: str
    pretrained: bool | str = False
    freeze: Literal["none", "backbone"] | Annotated[int, Ge(0)] = "none"
    unfreeze_every: Annotated[int, Ge(0)] = 0
    head: Literal["linear", "logistic", "knn"] = "linear"
    input_size: Annotated[int, Interval(ge=1, le=2048)] | None = None
    test_time_augmentation: TestTimeAugmentation = "none"
    mlp: MlpParams = field(default_factory=MlpParams)
    cnn: CnnParams = field(default_factory=CnnParams)
    lenet: LenetParams = field(default_factory=LenetParams)
    alexnet: AlexnetParams = field(default_factory=AlexnetParams)
    vgg: VggParams = field(default_factory=VggParams)
    resnet: ResnetParams = field(default_factory=ResnetParams)
    inception: InceptionParams = field(default_factory=InceptionParams)
    wide_resnet: WideResnetParams = field(default_factory=WideResnetParams)
    convnext: ConvnextParams = field(default_factory=ConvnextParams)
    vit: VitParams = field(default_factory=VitParams)
    fast: FastParams = field(default_factory=FastParams)
    torchvision: TorchvisionParams = field(default_factory=TorchvisionParams)
    timm: TimmParams = field(default_factory=TimmParams)

    def __post_init__(self) -> None:
        _look_up(self.name)
        if self.unfreeze_every and self.freeze == "none":
            raise UserError(
                "model.unfreeze_every: nothing is frozen; set model.freeze to backbone or a number"
            )
        if self.freeze not in ("none", 0) and not self.pretrained:
            raise UserError(
                "model.freeze: random weights would stay random; set model.pretrained as well, "
                "or model.freeze to none"
            )

        if self.head != "linear" and not self.pretrained:
            raise UserError(
                f"model.head: {self.head} is fitted to what pretrained weights give: set"
                " model.pretrained as well, or model.head to linear"
            )
        if self.head == "knn" and not self.trains_head_alone:
            raise UserError(
                "model.head: knn holds what a frozen backbone gives: set model.freeze to backbone"
                " and model.unfreeze_every to 0, or model.head to logistic"
            )

    @property
    def frozen(self) -> bool:
        """Whether the backbone never changes."""
        return self.freeze == "backbone" and not self.unfreeze_every

    @property
    def trains_head_alone(self) -> bool:
        """Whether nothing but the last layer changes, by a fit."""
        return self.head != "linear" and self.frozen

    @property
    def section(self) -> str:
        """The key under ``model`` with the chosen network's settings."""
        return self.name.partition("/")[0]

    def args(self) -> dict[str, Any]:
        """The chosen network's settings as plain JSON values, for ``build`` and the model file."""
        settings = asdict(getattr(self, self.section))
        args = {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
        if self.input_size is not None:
            args["entry"] = {"size": self.input_size}
        if self.test_time_augmentation != "none":
            args["test_time_augmentation"] = self.test_time_augmentation
        return args


@dataclass(frozen=True)
class _EntryParams:
    """What an `Entry` is made of."""

    size: Annotated[int, Interval(ge=1, le=2048)]
    mean: Annotated[tuple[float, ...], Len(3, 3)] | None = None
    std: Annotated[tuple[Annotated[float, Gt(0)], ...], Len(3, 3)] | None = None


@dataclass(frozen=True)
class _NeighborsParams:
    """What `NearestNeighbors` is made of: training images, and how many of them vote."""

    images: Annotated[int, Interval(ge=1, le=MOST_NEIGHBORS)]
    vote: Annotated[int, Ge(1)]

    def __post_init__(self) -> None:
        if self.vote > self.images:
            raise UserError("model.neighbors: more of them vote than there are.")


@dataclass(frozen=True)
class _General:
    """What the settings of any network may hold beside its own."""

    entry: _EntryParams | None = None
    neighbors: _NeighborsParams | None = None
    test_time_augmentation: TestTimeAugmentation = "none"


def names(library: str) -> list[str]:
    """The names of TORCHVISION's or TIMM's networks, which imports that library."""
    found = torchvision_names() if library == TORCHVISION else timm_names()
    return [library + name for name in found]


def build(
    name: str, args: Mapping[str, Any], *, classes: int, channels: int, image_size: int
) -> Classifier:
    """Build a network with fresh weights, drawn from torch's global random state.

    Args:
        name: a key of ``NETWORKS``, ``torchvision/NAME`` or ``timm/NAME``.
        args: the network's settings; what is left out has its default. ``entry`` may describe an
            ``Entry`` (keys size, mean, std) that adapts the images to what the weights expect;
            ``neighbors`` (keys images, vote) puts `NearestNeighbors` behind the embeddings;
            ``test_time_augmentation`` has the network answer with the mean over several views of an
            image.
        classes: the number of logits.
        channels: of the prepared images, 1 or 3.
        image_size: side of the prepared images in pixels.

    Raises:
        UserError: unknown name or setting, or images too small for the network.
    """
    if name == "ensemble":  # of trained networks: in model files, never in params.yaml
        together = parse(EnsembleParams, args, "model.ensemble")
        sizes = {"classes": classes, "channels": channels, "image_size": image_size}
        networks = [build(member.name, member.args, **sizes) for member in together.members]
        return ensemble(together, networks, classes)
    _look_up(name)
    settings = dict(args)
    if "views" in settings:  # its name in model files of earlier versions
        settings["test_time_augmentation"] = settings.pop("views")
    general = {key.name: settings.pop(key.name) for key in fields(_General) if key.name in settings}
    entry = (also := parse(_General, general, f"model.{name}")).entry
    if entry:
        prepared, image_size = image_size, entry.size
        channels = len(entry.mean) if entry.mean else channels
    if name.startswith(TORCHVISION):
        short_name = name.removeprefix(TORCHVISION)
        of_torchvision = parse(TorchvisionParams, settings, "model.torchvision")
        network = torchvision_network(short_name, of_torchvision, classes, channels, image_size)
    elif name.startswith(TIMM):
        short_name = name.removeprefix(TIMM)
        of_timm = parse(TimmParams, settings, "model.timm")
        network = timm_network(short_name, of_timm, classes, channels, image_size)
    else:
        params = parse(NETWORKS[name].params, settings, f"model.{name}")
        require_size(name, image_size, NETWORKS[name].smallest)
        network = NETWORKS[name].build(params, classes, channels, image_size)
    _start_undecided(network)
    if voting := also.neighbors:
        width = network.last_linear.in_features
        network.replace_last_layer(NearestNeighbors(width, voting.images, classes, voting.vote))
    if entry:
        adapted = Entry(prepared, entry.size, entry.mean, entry.std)
        stages = {"entry": adapted, **dict(network.backbone.named_children())}
        network = Classifier(stages, network.head)
    network.test_time_augmentation = also.test_time_augmentation
    return network


def _look_up(name: str) -> None:
    """Raise UserError for a name that is not known, with the list and the nearest match."""
    library = next((of for of in (TORCHVISION, TIMM) if name.startswith(of)), None)
    if library is None:
        if name not in NETWORKS:
            wrong = suggestion(name, NETWORKS)
            raise UserError(
                f"model.name: {name!r} is not a network{wrong} nor torchvision/NAME or timm/NAME."
            )
        return
    known = names(library)
    if name in known:
        return
    network = name.partition(".")[0]
    if library == TIMM and network in known:
        tags = timm_tags(network.removeprefix(TIMM))
        if name not in (tagged := [f"{network}.{tag}" for tag in tags]):
            raise UserError(
                f"model.name: timm knows no weights {name!r}{suggestion(name, tagged)}."
            )
        return
    listing = f"`python -m classifier models --{library.rstrip('/')}` lists them"
    raise UserError(f"model.name: {name!r} is not a network{suggestion(name, known)}; {listing}.")


def _start_undecided(network: Classifier) -> None:
    # Tiny last weights give every class nearly the same probability, so that training starts at a
    # loss of ln(classes) rather than by unlearning confident guesses.
    last = network.last_linear
    nn.init.normal_(last.weight, std=0.1 / last.in_features**0.5)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
