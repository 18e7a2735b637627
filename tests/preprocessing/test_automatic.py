"""What `auto` stands for, with pretrained weights and without."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.core.errors import UserError
from classifier.core.pretrained import FOLDER, Start, input_of
from classifier.core.resize import Resize
from classifier.models.model_file import save
from classifier.models.registry import build
from classifier.models.spec import ModelSpec
from classifier.preprocessing.automatic import settled
from classifier.preprocessing.params import PreprocessParams
from tests.support import workspace
from tests.support.library_weights import INPUT, weights_file

AUTO = PreprocessParams("auto", "auto", "auto", "standardize")
SIDES = np.full(5, 500)
RESNET = Start("timm/resnet18", True)


def test_without_weights_images_are_squashed_and_small_for_networks_of_this_project() -> None:
    params, lines = settled(AUTO, SIDES, SIDES, Start("cnn"))
    assert (params.image_size, params.how) == (64, Resize())
    assert "recipe photos" in lines.pop()
    assert lines == [
        "preprocess.image_size: auto is 64 pixels and not 224, for cnn starts from scratch, where "
        "more cost much and give little; preprocess.image_size=224 takes them."
    ]
    for start in (Start("timm/resnet18"), Start("torchvision/resnet18"), None):
        params, lines = settled(AUTO, SIDES, SIDES, start)
        assert (params.image_size, len(lines)) == (224, int(bool(start)))
    assert settled(AUTO, SIDES // 10, SIDES // 10, Start("cnn"))[0].image_size == 50
    [line] = settled(replace(AUTO, image_size=224), SIDES, SIDES, Start("cnn"))[1]
    assert "recipe photos" in line
    assert settled(AUTO, SIDES // 10, SIDES // 10, Start("cnn"))[1] == []


def test_weights_have_their_way_where_nothing_else_is_said() -> None:
    params, lines = settled(AUTO, SIDES, SIDES, RESNET, INPUT)
    assert (params.image_size, params.how) == (224, INPUT.resize)
    assert lines == ["The weights of timm/resnet18 want 224 pixels, crop of 87.5 %, bicubic."]
    params, lines = settled(replace(AUTO, image_size=96), SIDES, SIDES, RESNET, INPUT)
    assert (params.image_size, params.how) == (96, INPUT.resize)
    assert lines[0].endswith("; as preprocess says, it is 96 pixels, crop of 87.5 %, bicubic.")


@pytest.mark.parametrize("mode", ["squash", "pad"])
def test_another_way_cuts_nothing(mode: str) -> None:
    params = replace(AUTO, resize=mode)  # type: ignore[arg-type]
    assert settled(params, SIDES, SIDES, RESNET, INPUT)[0].how == Resize(mode, "bicubic")  # type: ignore[arg-type]


def test_what_pad_adds_is_not_cut() -> None:
    with pytest.raises(UserError, match=r"preprocess\.crop_fraction: 0\.9 would cut what pad"):
        replace(AUTO, resize="pad", crop_fraction=0.9)


def test_a_model_of_this_project_wants_what_it_was_trained_on(tmp_path: Path) -> None:
    args = {"entry": {"size": 16}}
    network = build("cnn", args, classes=2, channels=1, image_size=8)
    spec = ModelSpec("cnn", args, ("a", "b"), 1, 8, Resize("pad"), (0.5,), (0.2,))
    save(tmp_path / "m.safetensors", network, spec)
    wanted = input_of(Start("cnn", str(tmp_path / "m.safetensors")))
    assert wanted is not None
    assert (wanted.image_size, wanted.resize) == (8, Resize("pad"))


def test_the_stage_says_what_it_takes_and_needs_no_torch(tmp_path: Path) -> None:
    project = workspace.fresh(tmp_path / "project", with_results=False)
    project.run("dvc", "repro", "split")
    project.set(model__name="timm/resnet10t", model__pretrained=True)
    (project.path / "torch.py").write_text("raise SystemExit('torch was imported')")
    refused = project.run("python", "-m", "stages.preprocess", check=False)
    assert refused.stderr.startswith(
        "error: model.pretrained: models/pretrained/timm/resnet10t.safetensors does not exist: "
        "run `python -m classifier weights timm/resnet10t` here, or"
    )
    state = {"a": torch.zeros(1)}
    weights_file(project.path / FOLDER / "timm/resnet10t.safetensors", "timm/resnet10t", state)
    done = project.run("python", "-m", "stages.preprocess")
    assert (
        "The weights of timm/resnet10t want 224 pixels, crop of 87.5 %, bicubic.\n" in done.stdout
    )
    meta = json.loads((project.path / "data/prepared/meta.json").read_text())
    assert meta["image_size"] == 224
    assert meta["resize"] == {"mode": "crop", "interpolation": "bicubic", "crop_fraction": 0.875}
