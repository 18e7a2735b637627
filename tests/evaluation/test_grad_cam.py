"""Grad-CAM, filters, feature maps and embeddings of small networks."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from classifier.evaluation.embedding import principal_plane, recorded_embeddings
from classifier.evaluation.grad_cam import as_maps, feature_maps, first_filters, grad_cam
from classifier.models.classifier import Classifier
from classifier.models.forward import predict_logits
from classifier.models.registry import build


def network(name: str = "cnn", size: int = 16) -> Classifier:
    torch.manual_seed(0)
    found = build(name, {}, classes=4, channels=1, image_size=size).eval()
    nn.init.normal_(found.last_linear.weight)
    return found


class Bright(nn.Module):
    """Two maps: the image's bright places, and its dark ones."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.clamp(min=0), (-images).clamp(min=0)], dim=1)


def looking_for_light() -> Classifier:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    found = Classifier({"bright": Bright(), "relu": nn.ReLU(inplace=True)}, head)
    with torch.no_grad():
        found.last_linear.weight.copy_(torch.eye(2))
    return found.eval()


def test_grad_cam_points_at_the_evidence() -> None:
    image = torch.full((1, 1, 8, 8), -0.5)
    image[:, :, 2, 5] = 1.0
    found = grad_cam(looking_for_light(), image.repeat(2, 1, 1, 1), [0, 1])
    assert found is not None
    assert found.heat.shape == (2, 8, 8)
    assert found.heat.dtype == np.float32
    assert found.stage == "relu"
    light, dark = found.heat
    assert np.unravel_index(light.argmax(), light.shape) == (2, 5)
    assert light.sum() == pytest.approx(1)  # the one place alone, at its highest
    assert dark[2, 5] == 0
    assert dark.max() == pytest.approx(1)


def test_grad_cam_is_its_formula() -> None:
    """Equations 1 and 2 of the paper, with the gradient taken through the whole network."""
    model = network()
    images = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = grad_cam(model, images, [0, 1, 2])
    assert found is not None
    kept = []
    handle = model.backbone.get_submodule(found.stage).register_forward_hook(
        lambda _m, _i, output: kept.append(output)
    )
    logits = model(images)
    handle.remove()
    gradient = torch.autograd.grad(logits[range(3), [0, 1, 2]].sum(), kept[0])[0]
    weights = gradient.mean(dim=(2, 3))
    raw = torch.einsum("nc,nchw->nhw", weights, kept[0]).clamp(min=0)[:, None]
    expected = nn.functional.interpolate(raw, size=16, mode="bilinear")[:, 0].detach().numpy()
    for heat, wanted in zip(found.heat, expected, strict=True):
        assert heat == pytest.approx(wanted / max(wanted.max(), 1e-12), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "stage", "prefix"),
    [
        ("timm/resnet18", "layer3", None),  # the last one has 2 x 2 positions
        ("timm/vit_tiny_patch16_224", "blocks.10", 1),  # of its last one the class token is used
        ("timm/vit_wee_patch16_reg1_gap_256", "blocks.13", 1),  # the mean of all patches
        ("timm/swin_tiny_patch4_window7_224", "layers.2", None),  # its maps are [N, h, w, C]
        ("torchvision/vit_b_32", "encoder_layer_10", 1),
    ],
)
def test_grad_cam_of_photographs_networks(name: str, stage: str, prefix: int | None) -> None:
    """The formula again, on tokens and on maps whose channels come last."""
    torch.manual_seed(0)
    size = 64
    model = build(name, {}, classes=3, channels=1, image_size=size).eval()
    nn.init.normal_(model.last_linear.weight)
    images = torch.randn(2, 1, size, size)
    found = grad_cam(model, images, [0, 2])
    assert found is not None
    assert found.stage == stage
    kept = []
    model.stages()[stage].register_forward_hook(lambda _m, _i, output: kept.append(output))
    logits = model(images)
    gradient = torch.autograd.grad(logits[[0, 1], [0, 2]].sum(), kept[0])[0]
    maps = kept[0].detach()
    if prefix is None and "resnet" in name:
        maps, gradient = (t.flatten(2).transpose(1, 2) for t in (maps, gradient))
    elif prefix is None:
        maps, gradient = (t.flatten(1, 2) for t in (maps, gradient))
    else:
        maps, gradient = (t[:, prefix:] for t in (maps, gradient))
    raw = torch.einsum("nc,npc->np", gradient.mean(dim=1), maps).clamp(min=0)
    side = math.isqrt(raw.shape[1])
    raw = raw.view(2, 1, side, side)
    expected = nn.functional.interpolate(raw, size=size, mode="bilinear")[:, 0].numpy()
    for heat, wanted in zip(found.heat, expected, strict=True):
        assert heat == pytest.approx(wanted / max(wanted.max(), 1e-12), abs=1e-5)


def test_tokens_and_maps_are_told_apart() -> None:
    tokens = torch.arange(25.0).view(1, 25, 1)
    assert as_maps(tokens[:, :17]).flatten().tolist() == list(range(1, 17))
    assert as_maps(tokens, 9).flatten().tolist() == list(range(9, 25))
    assert as_maps(tokens, 2) is None
    assert as_maps(torch.zeros(1, 4, 4, 7)).shape == (1, 7, 4, 4)
    assert as_maps(torch.zeros(1, 7, 4, 4)).shape == (1, 7, 4, 4)
    assert as_maps([tokens]) is None
    assert as_maps(torch.zeros(1, 5)) is None


def test_networks_without_maps_have_no_heat() -> None:
    model = network("mlp")
    images = torch.zeros(1, 1, 16, 16)
    assert grad_cam(model, images, [0]) is None
    assert feature_maps(model, images) == {}
    assert first_filters(model) is None


def test_feature_maps_and_filters() -> None:
    model = network()
    maps = feature_maps(model, torch.randn(1, 1, 16, 16))
    assert list(maps) == [name for name, _ in model.backbone.named_children()]
    assert all(values.ndim == 3 and len(values) <= 16 for values in maps.values())
    filters = first_filters(model)
    assert filters is not None
    assert filters.shape[1] == 1


def test_feature_maps_do_not_depend_on_the_threads() -> None:
    model = network("cnn", 8)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 8, 8, 1, generator=generator).permute(0, 3, 1, 2)  # as data/ holds it
    before = torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found[threads] = feature_maps(model, image)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for name, values in found[1].items():
        assert np.array_equal(values, found[2][name]), name


def test_embeddings_are_recorded_on_the_way() -> None:
    model = network()
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 1), np.uint8)
    rows = np.array([0, 7, 8, 30, 49])
    with recorded_embeddings(model, rows) as found:
        logits = predict_logits(model, images, [0.5], [0.25], batch_size=8)
    values = found()
    assert values.shape == (5, model.last_linear.in_features)
    again = model.last_linear(torch.from_numpy(values)).detach().numpy()
    assert again == pytest.approx(logits[rows], rel=1e-5)
    predict_logits(model, images, [0.5], [0.25])
    assert len(found()) == 5  # what comes later is not recorded


def test_principal_plane_is_that_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(0)
    points = (generator.normal(size=(200, 6)) * [9, 1, 5, 1, 1, 1]).astype(np.float32)
    plane, shares = principal_plane(points)
    reference = PCA(2, svd_solver="full").fit(points.astype(np.float64))
    assert np.abs(plane) == pytest.approx(np.abs(reference.transform(points)), rel=1e-6, abs=1e-6)
    assert shares == pytest.approx(reference.explained_variance_ratio_.tolist())
    assert (principal_plane(points)[0] == plane).all()


def test_a_very_wide_plane_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    scales = np.array([9, 5] + [1] * 38)
    points = (generator.normal(size=(30, 40)) * scales).astype(np.float32)
    plane, shares = principal_plane(points)
    monkeypatch.setattr("classifier.evaluation.embedding._WIDE", 30)
    wide, wide_shares = principal_plane(points)
    assert wide == pytest.approx(plane, rel=1e-6, abs=1e-6)
    assert wide_shares == pytest.approx(shares)
    assert principal_plane(np.ones((3, 40), np.float32))[0] == pytest.approx(np.zeros((3, 2)))


@pytest.mark.parametrize("shape", [(1, 5), (4, 1), (3, 2), (0, 3)])
def test_principal_plane_of_next_to_nothing(shape: tuple[int, int]) -> None:
    plane, shares = principal_plane(np.ones(shape, np.float32))
    assert plane.shape == (shape[0], 2)
    assert np.isfinite(plane).all()
    assert shares == [0, 0]
