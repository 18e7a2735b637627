"""The fast network, its whitening, and images that grow during training."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError
from classifier.dataset.prepared import PreparedData
from classifier.experiments.overrides import check
from classifier.experiments.recipes import load_recipe, recipe_names
from classifier.models import model_file
from classifier.models.networks import side_by_side
from classifier.models.networks.convolution import Convolution
from classifier.models.networks.fast import FastParams, Whitening
from classifier.models.registry import ModelParams, build
from classifier.training.loop import train
from classifier.training.params import TrainParams
from classifier.training.progressive_resizing import ProgressiveParams
from classifier.training.record import Trained
from classifier.training.run.checkpoint import Checkpoints
from tests.support.prepared_digits import prepared_digits
from tools import ROOT

MODEL = ModelParams("fast", fast=FastParams(widths=(8, 16)))
TRAIN = TrainParams(
    lr=0.02,
    epochs=3,
    batch_size=64,
    optimizer="muon",
    seed=0,
    weight_decay=0.01,
    schedule="linear",
    warmup_epochs=0.5,
    label_smoothing=0.2,
    progressive=ProgressiveParams(first_scale=0.5, full_from=0.5),
)
AUGMENT = AugmentParams(shift=0.125)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def straight(data: PreparedData) -> Trained:
    return trained(data)


def trained(data: PreparedData, **arguments: Any) -> Trained:
    arguments = {"params": TRAIN, "model": MODEL, "augment": AUGMENT, **arguments}
    return train(data=data, say=lambda line: None, **arguments)


def same(first: Trained, second: Trained) -> bool:
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def whitening(network: nn.Module) -> Whitening:
    return next(module for module in network.modules() if isinstance(module, Whitening))


def first_convolution(network: nn.Module) -> nn.Conv2d:
    return next(module for module in network.modules() if isinstance(module, nn.Conv2d))


def random_images(count: int = 64, channels: int = 3, side: int = 12) -> Tensor:
    """Smooth random images: neighboring pixels are correlated, as in real ones."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, channels, side + 3, side + 3, generator=generator)
    return torch.nn.functional.avg_pool2d(noise, 4, 1) * 4


def test_whitened_patches_are_uncorrelated_and_of_unit_variance() -> None:
    layer = Whitening(3, 2)
    images = random_images()
    layer.fit([images])
    maps = layer(images)
    assert maps.shape == (64, 24, 11, 11)
    assert torch.equal(maps[:, 12:], -maps[:, :12])
    covariance = maps[:, :12].transpose(0, 1).flatten(1).cov()
    torch.testing.assert_close(covariance, torch.eye(12), atol=0.02, rtol=0)


def test_constant_images_do_not_blow_up() -> None:
    layer = Whitening(1, 3)
    layer.fit([torch.ones(4, 1, 8, 8)])
    assert layer.weight.isfinite().all()


def test_patches_in_one_part_are_whitened_as_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images()
    whole, parts = Whitening(3, 2), Whitening(3, 2)
    whole.fit([images])
    patches = images.double().unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5)
    values, vectors = torch.linalg.eigh(patches.reshape(-1, 12).T.cov())
    expected = (vectors / (values.clamp(min=0) + 5e-4).sqrt()).T.flip(0).float()
    assert torch.equal(whole.weight[:12].flatten(1), expected)
    module = sys.modules[Whitening.__module__]  # the package has the function of that name
    monkeypatch.setattr(module, "_PATCH_BYTES", 5 * 8 * 12 * 12 * 12)
    parts.fit(iter(images.split([30, 33, 1])))
    torch.testing.assert_close(parts.weight, whole.weight, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model", [ModelParams("cnn"), ModelParams("fast", fast=FastParams(whiten=False))]
)
def test_a_network_that_takes_nothing_from_the_data_reads_none(model: ModelParams) -> None:
    network = build(model.name, model.args(), classes=2, channels=1, image_size=8)

    def batches() -> Iterator[Tensor]:
        raise AssertionError("images were read")
        yield

    network.fit(batches)


def test_a_layer_is_fitted_to_what_reaches_it() -> None:
    args = {"widths": [8], "entry": {"size": 6}}
    torch.manual_seed(0)
    network = build("fast", args, classes=2, channels=3, image_size=12)
    smaller = network.backbone.entry(random_images())
    network.fit(lambda: random_images().split(40))
    expected = Whitening(3, 2)
    expected.fit(smaller.split(40))
    assert torch.equal(whitening(network).weight, expected.weight)


def test_dirac_convolutions_hand_their_input_on() -> None:
    network = build("fast", {"widths": [30]}, classes=2, channels=3, image_size=8)
    first = first_convolution(network)
    maps = torch.rand(2, 24, 6, 6)
    assert torch.equal(first(maps)[:, :24], maps)
    plain = build("fast", {"dirac": False}, classes=2, channels=3, image_size=8)
    assert not torch.equal(first_convolution(plain)(maps)[:, :24], maps)


@pytest.mark.parametrize("side", [(7, 7), (8, 7), (7, 8), (8, 8)])
def test_what_pooling_drops_is_not_computed_and_changes_nothing(side: tuple[int, int]) -> None:
    torch.manual_seed(0)
    convolution = Convolution(5, 6, pooled=True)
    maps = torch.randn(2, 5, *side, requires_grad=True)
    weight = convolution.weight
    found = convolution(maps)
    whole = torch.nn.functional.conv2d(maps, weight, padding=1)
    assert found.shape[2:] == (side[0] // 2 * 2, side[1] // 2 * 2)
    pooled = [torch.nn.functional.max_pool2d(computed, 2) for computed in (found, whole)]
    torch.testing.assert_close(*pooled)
    ours, theirs = (torch.autograd.grad(p.square().sum(), (maps, weight)) for p in pooled)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("side", [2, 3, 6, 7])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("tiles", "way"), [(False, "ByProduct"), (True, "Take")])
def test_the_gradients_of_small_maps_are_those_of_an_ordinary_convolution(
    side: int, pooled: bool, tiles: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "has_tiles", lambda: tiles)
    torch.manual_seed(0)
    convolution = Convolution(128, 144, pooled)
    maps = torch.randn(60, 128, side, side).to(memory_format=torch.channels_last)
    maps.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(maps.bfloat16())
    assert way in str(found.grad_fn)
    rows, columns = found.shape[2:]
    whole = torch.nn.functional.conv2d(maps, convolution.weight, padding=1)[..., :rows, :columns]
    back = torch.randn_like(whole)
    ours, theirs = (
        torch.autograd.grad(made, (maps, convolution.weight), back.to(made.dtype))
        for made in (found, whole)
    )
    for rough, exact in zip((found, *ours), (whole, *theirs), strict=True):
        assert (rough - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("count", [1, 3, 21])
@pytest.mark.parametrize("side", [(1, 1), (5, 5), (6, 9), (9, 6)])
@pytest.mark.parametrize("pooled", [False, True])
def test_maps_side_by_side_do_not_touch(count: int, side: tuple[int, int], pooled: bool) -> None:
    """Nor where the images do not fill the last wide map."""
    generator = torch.Generator().manual_seed(0)
    exact = {"dtype": torch.float64, "requires_grad": True, "generator": generator}
    maps = torch.randn(count, 4, *side, **exact)
    weight = torch.randn(3, 4, 3, 3, **exact)
    pooled = pooled and min(side) > 1
    found = side_by_side.convolved(maps, weight, pooled)
    whole = torch.nn.functional.conv2d(maps, weight, padding=1)
    if pooled:
        whole = whole[..., : side[0] // 2 * 2, : side[1] // 2 * 2]
    torch.testing.assert_close(found, whole)
    back = torch.randn_like(whole)
    ours, theirs = (torch.autograd.grad(made, (maps, weight), back) for made in (found, whole))
    torch.testing.assert_close(ours, theirs)


def test_the_directions_of_most_variance_are_kept() -> None:
    images = random_images()
    every, some = Whitening(3, 2), Whitening(3, 2, 5)
    for layer in (every, some):
        layer.fit([images])
    assert some(images).shape == (64, 10, 11, 11)
    assert torch.equal(some.weight[:5], every.weight[:5])
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    directions = F.normalize(every.weight[:12].flatten(1))
    spread = (patches @ directions.T).var(0)
    assert torch.equal(spread.argsort(descending=True), torch.arange(12))
    assert Whitening(3, 2, 50).outputs == 24  # there are no more


def test_an_offset_moves_what_the_directions_give() -> None:
    torch.manual_seed(0)
    plain = Whitening(3, 2)
    torch.manual_seed(0)
    moved = Whitening(3, 2, offset=0.5)
    assert "bias" not in plain.state_dict()
    images = random_images()
    torch.testing.assert_close(moved(images), plain(images) + 0.5)


def test_a_patch_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.fast\.patch: 8"):
        build("fast", {"patch": 8}, classes=2, channels=1, image_size=6)


def test_training_fits_the_whitening_to_the_train_split_and_never_changes_it(
    data: PreparedData, straight: Trained
) -> None:
    seed = trained(data, params=replace(TRAIN, epochs=1, seed=1))
    weights = [whitening(run.network).weight for run in (straight, seed)]
    assert torch.equal(weights[0], weights[1])
    random = trained(
        data, params=replace(TRAIN, epochs=1), model=replace(MODEL, fast=FastParams(whiten=False))
    )
    assert not torch.equal(whitening(random.network).weight, weights[0])


def test_it_sees_resized_images_where_those_come_first(data: PreparedData) -> None:
    grown = trained(
        data, params=replace(TRAIN, epochs=1), model=replace(MODEL, input_size=12)
    ).network
    plain = trained(data, params=replace(TRAIN, epochs=1)).network
    assert not torch.equal(whitening(grown).weight, whitening(plain).weight)


def test_it_learns(straight: Trained) -> None:
    assert straight.history[-1]["val_accuracy"] > 0.9


def test_twice_is_the_same_to_the_bit(data: PreparedData, straight: Trained) -> None:
    assert same(trained(data), straight)


def test_a_stopped_run_goes_on_to_the_same_model(
    data: PreparedData, straight: Trained, tmp_path: Path
) -> None:
    def stop(history: list[Any]) -> None:
        if len(history) == 2:  # after one epoch was saved
            raise RuntimeError("stop")

    checkpoints = Checkpoints(tmp_path, "1 epoch")
    with pytest.raises(RuntimeError, match="stop"):
        trained(data, checkpoints=checkpoints, on_epoch=stop)
    assert same(trained(data, checkpoints=Checkpoints(tmp_path, "1 epoch")), straight)


# Small enough for a test, and what a CPU can do in place of a GPU.
SHORTENED = {
    "model.fast.widths": [8, 16, 32],
    "train.epochs": 3,
    "train.batch_size": 64,
    "train.warmup_epochs": 0.3,
    "train.precision": "bf16",
    "train.compile": False,
    "augment.horizontal_flip": "none",
}


@pytest.mark.parametrize("name", [n for n in recipe_names(ROOT / "recipes") if "cifar10" in n])
def test_every_recipe_learns_and_goes_on_to_the_same_model_after_a_stop(
    name: str, data: PreparedData, tmp_path: Path
) -> None:
    recipe = load_recipe(name, ROOT / "recipes")
    sections = check({**recipe.changes, **SHORTENED}, ROOT)
    parts = {"params": sections["train"], "model": sections["model"]}
    parts["augment"] = sections["augment"]
    whole = trained(data, **parts)
    assert whole.history[-1]["val_accuracy"] > 0.5

    def stop(history: list[Any]) -> None:
        if len(history) == 2:  # after one epoch was saved
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        trained(data, **parts, checkpoints=Checkpoints(tmp_path, "1 epoch"), on_epoch=stop)
    assert same(trained(data, **parts, checkpoints=Checkpoints(tmp_path, "1 epoch")), whole)


def test_three_convolutions_add_what_the_first_one_gave() -> None:
    settings = {"widths": [24], "convolutions": 3}
    network = build("fast", settings, classes=2, channels=3, image_size=8).eval()
    group = network.backbone.group1
    maps = torch.rand(2, 24, 8, 8) + 0.1
    # Dirac weights and untrained norms hand on what is positive, but for the activations.
    shared = torch.nn.functional.gelu(torch.nn.functional.max_pool2d(maps, 2))
    expected = torch.nn.functional.gelu(shared + torch.nn.functional.gelu(shared))
    torch.testing.assert_close(group(maps), expected, atol=1e-3, rtol=0)


def test_the_model_file_holds_the_whitening(
    data: PreparedData, straight: Trained, tmp_path: Path
) -> None:
    offset = trained(
        data, params=replace(TRAIN, epochs=1), model=replace(MODEL, fast=FastParams(offset=0.3))
    )
    for run in (straight, offset):
        model_file.save(tmp_path / "model.safetensors", run.network, run.spec())
        loaded, _ = model_file.load(tmp_path / "model.safetensors")
        for name, value in whitening(run.network).state_dict().items():
            assert torch.equal(whitening(loaded).state_dict()[name], value)
    assert whitening(loaded).bias is not None
