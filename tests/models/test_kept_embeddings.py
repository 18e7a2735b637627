"""Embeddings that are kept are those of this backbone and these images, to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.core.resize import Resize
from classifier.dataset.prepared import PreparedData
from classifier.evaluation.evaluate import Evaluation, evaluate
from classifier.metrics.scoring import EvaluateParams
from classifier.models import kept_embeddings
from classifier.models.classifier import Classifier
from classifier.models.kept_embeddings import KeptEmbeddings, without_last_layer
from classifier.models.registry import build
from classifier.models.spec import ModelSpec
from tests.support.prepared_digits import prepared_digits

CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    return prepared_digits(tmp_path / "prepared", train=300, val=100)


@pytest.fixture
def network() -> Classifier:
    torch.manual_seed(0)
    network = build("cnn", {}, classes=10, channels=1, image_size=8).eval()
    torch.nn.init.normal_(network.last_linear.weight, std=0.1)
    return network


def kept(
    folder: Path, network: Classifier, data: PreparedData, said: list[str] | None = None
) -> KeptEmbeddings:
    classes = tuple(data.classes)
    spec = ModelSpec("cnn", {}, classes, 1, 8, Resize(), (0.5,), (0.25,))
    return KeptEmbeddings(
        folder, network, spec, data, CPU, [].append if said is None else said.append
    )


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npz"))


def test_what_was_kept_is_not_computed_again(
    tmp_path: Path, network: Classifier, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, said = tmp_path / "features", list[str]()
    assert not kept(root, network, data).known
    first = kept(root, network, data).of("test")
    monkeypatch.setattr(kept_embeddings, "predict_logits", None)  # must not be called
    again = kept(root, network, data, said)
    assert again.known
    assert np.array_equal(again.of("test"), first)
    assert said == [f"embeddings of {len(first):,} test images from {files(root)[0]}"]


def test_the_last_layer_and_the_labels_are_no_matter(
    tmp_path: Path, network: Classifier, data: PreparedData
) -> None:
    root = tmp_path / "features"
    first = kept(root, network, data).of("val")
    torch.nn.init.normal_(network.last_linear.weight)
    np.save(data.folder / "val_labels.npy", data.labels("val")[::-1])
    assert np.array_equal(kept(root, network, data).of("val"), first)
    assert len(files(root)) == 1


def test_other_weights_images_views_and_batches_have_files_of_their_own(
    tmp_path: Path, network: Classifier, data: PreparedData
) -> None:
    root = tmp_path / "features"
    first = kept(root, network, data).of("val")
    mirrored = kept(root, network, data).of("val", test_time_augmentation="mirror")
    kept(root, network, data).of("val", batch_size=7)
    np.save(data.folder / "val.npy", data.images("val")[:][::-1])
    turned = kept(root, network, data).of("val")
    with torch.no_grad():
        next(network.backbone.parameters()).mul_(2)
    other = kept(root, network, data).of("val")
    assert len(files(root)) == 5
    assert len({path.parent for path in files(root)}) == 2
    np.testing.assert_allclose(turned[::-1], first, rtol=1e-4, atol=1e-5)
    assert not np.allclose(mirrored, first)
    assert not np.allclose(other, turned)


def test_a_damaged_file_is_said_to_be_and_replaced(
    tmp_path: Path, network: Classifier, data: PreparedData
) -> None:
    root, said = tmp_path / "features", list[str]()
    first = kept(root, network, data).of("val")
    [file] = files(root)
    whole = file.read_bytes()
    for damage in (whole[:-100], whole[:900] + bytes([whole[900] ^ 1]) + whole[901:]):
        file.write_bytes(damage)
        assert np.array_equal(kept(root, network, data, said).of("val"), first)
        assert "is damaged" in said.pop()
        assert file.read_bytes() == whole


def test_the_files_that_were_used_last_stay(
    tmp_path: Path,
    network: Classifier,
    data: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_embeddings, "KEPT", 2)
    monkeypatch.setattr(kept_embeddings, "KEPT_BYTES", 1)
    root = tmp_path / "features"
    for _ in range(3):
        kept(root, network, data).of("val")
        with torch.no_grad():
            next(network.backbone.parameters()).add_(1)
    assert len(files(root)) == len([folder for folder in root.iterdir() if folder.is_dir()]) == 2


def test_embeddings_are_what_the_last_layer_is_given(network: Classifier) -> None:
    images = torch.randn(3, 1, 8, 8)
    with torch.inference_mode():
        logits = network(images)
        with without_last_layer(network):
            embeddings = network(images)
        assert torch.equal(network.last_layer(embeddings), logits)
        assert torch.equal(network(images), logits)


@pytest.mark.parametrize("train_images", [5000, 150])
def test_an_evaluation_from_kept_embeddings_is_the_same_to_the_bit(
    tmp_path: Path, network: Classifier, data: PreparedData, train_images: int
) -> None:
    classes = tuple(data.classes)
    spec = ModelSpec("cnn", {}, classes, 1, 8, Resize("squash"), (0.5,), (0.25,))
    params = EvaluateParams(64, 3, seed=0, bootstrap_samples=100, train_images=train_images)
    root = tmp_path / "features"

    def run() -> Evaluation:
        return evaluate(network, spec, data, params, CPU, features=root)

    through = run()
    assert not root.exists(), "only what training began is kept"
    KeptEmbeddings(root, network, spec, data, CPU).of("train", params.batch_size)
    for found in (run(), run()):
        for split, outcomes in through.outcomes.items():
            assert np.array_equal(found.outcomes[split].logits, outcomes.logits)
            assert np.array_equal(found.embedded[split].vectors, through.embedded[split].vectors)
        assert np.array_equal(found.embeddings, through.embeddings)
    assert len(files(root)) == (3 if train_images > 300 else 4)
