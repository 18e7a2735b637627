"""The name of a run: what decides its result, and nothing else, in 16 hex digits.

A state of another run must never be taken up, and a state of this one must not be lost because of
a setting that changes no bit.
"""

from collections.abc import Iterable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from classifier.augment.augmenter import AugmentParams
from classifier.core.files import sha256
from classifier.core.keys import key_of, python_files
from classifier.core.known_hashes import hashes
from classifier.core.pretrained import Start, file_of
from classifier.models.device import choose_device
from classifier.models.registry import NETWORKS, TIMM, ModelParams
from classifier.training.distributed import Ranks
from classifier.training.params import TrainParams

# Of the section train: how a run is watched and where its images wait change no result. What counts
# of `device` and `processes` is the device that is found and the number of ranks.
WITHOUT_EFFECT = ("checkpoint_every", "tensorboard", "data_placement", "device", "processes")


def run_key(
    params: TrainParams,
    model: ModelParams,
    augment: AugmentParams,
    prepared: Path,
    code: Iterable[Path],
    known: Path | None = None,
) -> str:
    """The key of the run that these parameters, data and code make here, on which all ranks agree.

    Args:
        prepared: the folder of the data; the train and val splits count.
        code: files, or folders whose Python files count.
        known: a file to keep the hashes of the data in, so that the next start reads it faster.

    Raises:
        UserError: another machine of the run has other ones.
    """
    ranks = Ranks()
    found = None
    if ranks.first_here:  # one a machine: to read all data takes long
        train = {key: value for key, value in asdict(params).items() if key not in WITHOUT_EFFECT}
        data = [prepared / "meta.json", *prepared.glob("train*"), *prepared.glob("val*")]
        versions = {"torchvision": metadata.version("torchvision")}
        versions |= {"torch": torch.__version__, "numpy": np.__version__}
        if model.name.startswith(TIMM):
            versions["timm"] = metadata.version("timm")
        found = {
            "params.yaml": key_of([train, _settings(model), asdict(augment)], []),
            str(prepared): key_of(hashes(sorted(data), known), []),
            "the code": key_of(None, python_files(code)),
            **{f"the version of {name}": version for name, version in versions.items()},
            "the device": choose_device(params.device).type,
        }
    return key_of([ranks.size, ranks.agreed(found)], [])


def _settings(model: ModelParams) -> dict[str, Any]:
    networks = {*NETWORKS, "torchvision", "timm"}
    general = {key: value for key, value in asdict(model).items() if key not in networks}
    if weights := file_of(Start(model.name, model.pretrained)):
        general["pretrained"] = sha256(weights)
    return {**general, "args": model.args()}


def code_of(stage: str, pipeline: Path) -> list[Path]:
    """The files and folders of code that a stage of a dvc.yaml depends on."""
    deps = yaml.safe_load(pipeline.read_text(encoding="utf-8"))["stages"][stage]["deps"]
    return [Path(name) for name in deps if name.startswith(("classifier", "stages"))]
