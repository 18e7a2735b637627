"""timm's networks in every format: with its preprocessing inside, they answer as they do here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.core.resize import Resize
from classifier.evaluation.grad_cam import grad_cam
from classifier.inference.export import (
    load_torch_export,
    onnx_bytes,
    quantized,
    save_torch_export,
)
from classifier.inference.exported_graph import Deployed
from classifier.models.forward import predict_logits
from classifier.models.registry import build
from classifier.models.spec import ModelSpec
from classifier.models.summary import count_parameters, summary
from tests.models.test_timm import FAMILIES

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.usefixtures("one_thread")

FOURTEEN = ("eva02_tiny_patch14_224", "vit_small_patch14_dinov2")  # pixels, side of a patch


def check(name: str, channels: int, size: int, folder: Path) -> None:
    """Exported, in 8 bits, summarized, explained and embedded; answers by two views of an image."""
    import onnxruntime

    torch.manual_seed(0)
    args = {"test_time_augmentation": "mirror"}
    network = build(f"timm/{name}", args, classes=4, channels=channels, image_size=size).eval()
    torch.nn.init.normal_(network.last_linear.weight, std=0.3)
    channel = (0.4,) * channels
    spec = ModelSpec(
        f"timm/{name}", args, tuple("abcd"), channels, size, Resize("squash"), channel, channel
    )
    random = np.random.default_rng(0)
    others = random.integers(0, 256, (3, size + 9, size + 30, channels), np.uint8)
    images = random.integers(0, 256, (24, size, size, channels), np.uint8)
    with torch.no_grad():
        wanted, of_images = (Deployed(network, spec)(torch.from_numpy(x)) for x in (others, images))

    def ask(model: bytes, images: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        found: np.ndarray = session.run(None, {session.get_inputs()[0].name: images})[0]
        return found

    exported = onnx_bytes(network, spec, {})
    assert np.abs(ask(exported, images) - of_images.numpy()).max() < 1e-4
    # A value that is resized may be rounded to the next one.
    assert np.abs(ask(exported, others) - wanted.numpy()).max() < 5e-3
    in_int8 = ask(quantized(exported, images, spec, {}), images)
    assert (in_int8.argmax(1) == of_images.argmax(1).numpy()).mean() > 0.6
    save_torch_export(folder / "model.pt2", network, spec)
    assert np.abs(load_torch_export(folder / "model.pt2")(others) - wanted.numpy()).max() < 1e-5

    counts = summary(name, network, channels, size)
    assert counts["parameters"] == count_parameters(network)
    assert counts["multiply_adds"] > counts["parameters"]
    logits = predict_logits(network, images, channel, channel)
    assert np.array_equal(logits.argmax(1), of_images.argmax(1).numpy())
    heat = grad_cam(network, torch.randn(2, channels, size, size), [0, 1])
    assert heat is not None
    assert heat.heat.shape == (2, size, size)
    assert heat.heat.max() == pytest.approx(1)


def test_every_format(tmp_path: Path) -> None:
    check("test_vit", 1, 32, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "place"), [(1, 0), (3, 1)])
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv4_conv_small_035", *FAMILIES])
def test_every_format_of_every_family(name: str, channels: int, place: int, tmp_path: Path) -> None:
    sizes = (112, 168) if name in FOURTEEN else (64, 160)
    check(name, channels, sizes[place], tmp_path)
