"""Images that grow while a network trains: every network, every augmentation, or one sentence."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from classifier.augment.augmenter import AugmentParams
from classifier.augment.preview import _EXAMPLES as AUGMENTATIONS
from classifier.core.errors import UserError
from classifier.dataset.prepared import PreparedData
from classifier.models.networks.alexnet import AlexnetParams
from classifier.models.networks.cnn import CnnParams
from classifier.models.networks.convnext import ConvnextParams
from classifier.models.networks.inception import InceptionParams
from classifier.models.networks.layers import FlattenMaps
from classifier.models.networks.torchvision import VitTokens
from classifier.models.networks.vgg import VggParams
from classifier.models.networks.vit import VitParams
from classifier.models.networks.wide_resnet import WideResnetParams
from classifier.models.registry import NETWORKS, ModelParams, build
from classifier.training.loop import train
from classifier.training.params import TrainParams
from classifier.training.progressive_resizing import Growth, ProgressiveParams, shrunk
from classifier.training.record import Trained
from classifier.training.run.checkpoint import Checkpoints
from tests.support.prepared_digits import prepared_digits

PARAMS = TrainParams(
    lr=0.01,
    epochs=2,
    batch_size=16,
    optimizer="adamw",
    seed=0,
    progressive=ProgressiveParams(first_scale=0.5),
    device="cpu",
)
MIXED = AugmentParams(mixup=0.2, cutmix=1.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("digits"), train=64, val=16)


def fit(
    data: PreparedData, model: ModelParams, augment: AugmentParams = MIXED, **changes: Any
) -> Trained:
    options = {"checkpoints": changes.pop("checkpoints", None)}
    params = dataclasses.replace(PARAMS, **changes)
    return train(params, model, augment, data, say=lambda line: None, **options)


def test_images_grow_to_their_full_size() -> None:
    growth = Growth(32, 0.5, 0.5)
    sizes = [growth.size(step / 20) for step in range(20)]
    assert sizes[0] == 16
    assert sizes == sorted(sizes)
    assert set(sizes[10:]) == {32}
    assert list(growth.smaller_sizes()) == list(range(16, 32, 2))
    assert {Growth(32, 0.5, 0.5, 4).size(step / 20) for step in range(20)} == {16, 20, 24, 28, 32}
    assert Growth(33).size(0) == 33
    assert list(Growth(33).smaller_sizes()) == []
    assert Growth(33, 0.5).size(0.49) <= 33
    assert Growth(8, 0.9, step=32).size(0) == 8, "a step larger than the images is no one pixel"


def test_shrinking_is_interpolation() -> None:
    images = torch.rand(2, 3, 12, 12)
    assert shrunk(images, 12) is images
    flat = torch.full((2, 3, 12, 12), 0.7)
    torch.testing.assert_close(shrunk(flat, 8), torch.full((2, 3, 8, 8), 0.7))
    expected = F.interpolate(images, (7, 7), mode="bilinear", antialias=True)
    torch.testing.assert_close(shrunk(images, 7), expected)


SMALL = {
    "vgg": ModelParams("vgg", vgg=VggParams(width=0.1, dense_units=16)),
    "alexnet": ModelParams("alexnet", alexnet=AlexnetParams(width=0.1, dense_units=16)),
    "inception": ModelParams("inception", inception=InceptionParams(width=0.1)),
    "convnext": ModelParams("convnext", convnext=ConvnextParams((1, 1), (8, 16))),
    "vit": ModelParams("vit", vit=VitParams(width=24, depth=2)),
    "wide_resnet": ModelParams("wide_resnet", wide_resnet=WideResnetParams(10, 0.5)),
    "entry": ModelParams("cnn", input_size=16),  # resizes its input, in proportion
}


@pytest.mark.parametrize("name", [*(name for name in NETWORKS if name != "mlp"), "entry"])
def test_every_network_trains_on_smaller_mixed_images(data: PreparedData, name: str) -> None:
    seen: set[int] = set()
    model = SMALL.get(name) or ModelParams(name)
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: (
            seen.add(inputs[0].shape[-1]) if hasattr(module, "test_time_augmentation") else None
        )
    )
    try:
        trained = fit(data, model, accumulation_steps=2)
    finally:
        hook.remove()
    assert seen == {4, 6, 8}
    assert len(trained.history) == 2


@pytest.mark.parametrize("name", [*AUGMENTATIONS, "policy"])
def test_every_augmentation_goes_with_smaller_images(data: PreparedData, name: str) -> None:
    value = {**AUGMENTATIONS, "policy": "trivial"}[name]
    trained = fit(data, ModelParams("cnn"), AugmentParams(**{name: value}), epochs=1)
    assert len(trained.history) == 1


def test_a_fixed_size_head_pools_what_has_another_size() -> None:
    flatten = FlattenMaps(2)
    maps = torch.rand(3, 5, 2, 2)
    assert torch.equal(flatten(maps), maps.flatten(1))
    larger = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(flatten(larger), maps.flatten(1))
    assert torch.equal(flatten(maps[..., :1, :1]), flatten(maps[..., :1, :1].expand(-1, -1, 2, 2)))


def test_learnt_positions_follow_the_number_of_patches() -> None:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(8, 2, num_layers=1, num_heads=1, hidden_dim=6, mlp_dim=6)
    tokens = VitTokens(model)
    full = torch.rand(2, 3, 8, 8)
    assert tokens(full).shape == (2, 17, 6)
    with torch.no_grad():
        tokens.project.weight.zero_()
        tokens.project.bias.zero_()
        ramp = torch.arange(4.0)
        tokens.positions[0, 1:, 0] = ramp.repeat_interleave(4)  # the row of a patch
        tokens.positions[0, 1:, 1] = ramp.repeat(4)  # and its column
        found = tokens(full[..., :4, :4])[0]
    torch.testing.assert_close(found[0], (tokens.class_token + tokens.positions[:, :1])[0, 0])
    torch.testing.assert_close(found[1:, 0], torch.tensor([0.5, 0.5, 2.5, 2.5]))
    torch.testing.assert_close(found[1:, 1], torch.tensor([0.5, 2.5, 0.5, 2.5]))


@pytest.mark.parametrize(
    ("model", "changes", "advice"),
    [
        (ModelParams("mlp"), {}, "mlp .* 8×8 .* 6×6: set it to 1,"),
        (
            ModelParams("cnn"),
            {"progressive": ProgressiveParams(first_scale=0.2)},
            "2×2: set it to 0.5 or more,",
        ),
        (
            ModelParams("vgg"),
            {"progressive": ProgressiveParams(first_scale=0.2)},
            "2×2: set it to 0.5 or more,",
        ),
        (
            ModelParams("cnn", cnn=CnnParams((8, 8, 8, 8))),
            {"accumulation_steps": 16},
            "6×6: set it to 1,",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    data: PreparedData, tmp_path: Path, model: ModelParams, changes: Any, advice: str
) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "1 epoch")
    with pytest.raises(UserError, match=rf"train\.progressive\.first_scale: .*{advice}"):
        fit(data, model, checkpoints=checkpoints, **changes)
    assert list(tmp_path.iterdir()) == []


def test_looking_whether_sizes_are_taken_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    network = build("resnet", {}, classes=3, channels=1, image_size=8).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    Growth(8, 0.5).check(network, "resnet", 1, 4)
    assert not network.training
    assert torch.equal(torch.get_rng_state(), random)
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
