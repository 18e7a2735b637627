"""Batches: the same images wherever they live, each one once, in the order asked for."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.dataset.stored_images import StoredImages
from classifier.models.classifier import Entry
from classifier.models.forward import at_a_time, normalize, predict_logits
from classifier.training import batches
from classifier.training.batches import Batches, fits

CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path: Path) -> StoredImages:
    content = np.random.default_rng(0).integers(0, 256, (53, 4, 4, 3), np.uint8)
    np.save(tmp_path / "images.npy", content)
    return StoredImages(tmp_path / "images.npy")


def test_resident_and_streamed_batches_are_the_same(images: StoredImages) -> None:
    labels = np.arange(53) % 5
    order = torch.randperm(53, generator=torch.Generator().manual_seed(3))
    resident = list(Batches(images, labels, CPU, "resident").epoch(order, 8))
    streamed = list(Batches(images, labels, CPU, "stream").epoch(order, 8))
    assert len(resident) == len(streamed) == 6
    for number, (ours, theirs) in enumerate(zip(resident, streamed, strict=True)):
        rows = order[number * 8 : number * 8 + 8]
        assert torch.equal(ours[2], rows)
        assert np.array_equal(ours[0].numpy(), images[rows.numpy()])
        assert np.array_equal(ours[1].numpy(), labels[rows.numpy()])
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("place", ["resident", "stream"])
def test_an_epoch_can_begin_in_its_middle(images: StoredImages, place: str) -> None:
    some = Batches(images, np.zeros(53), CPU, place)  # type: ignore[arg-type]
    whole = list(some.epoch(torch.arange(53), 8))
    rest = list(some.epoch(torch.arange(53), 8, first=4))
    assert len(rest) == 2
    for ours, theirs in zip(rest, whole[4:], strict=True):
        assert torch.equal(ours[0], theirs[0])


def test_leaving_a_streamed_epoch_early_ends_its_thread(images: StoredImages) -> None:
    before = set(threading.enumerate())
    epoch = Batches(images, np.zeros(53), CPU, "stream").epoch(torch.arange(53), 8)
    next(epoch)
    assert set(threading.enumerate()) > before
    epoch.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) == before


def test_small_sets_are_resident(images: StoredImages) -> None:
    assert Batches(images, np.zeros(53), CPU).resident


def test_the_ranks_of_a_machine_have_its_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "free_memory", lambda: 1000)
    assert (fits(500, CPU), fits(501, CPU)) == (True, False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert (fits(125, CPU), fits(126, CPU)) == (True, False)


def test_normalize_matches_its_definition() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 4, 5, 2), np.uint8)
    found = normalize(torch.from_numpy(images), [0.4, 0.5], [0.2, 0.3])
    wanted = (images / 255 - [0.4, 0.5]) / [0.2, 0.3]
    assert found.shape == (3, 2, 4, 5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert np.allclose(found.numpy(), wanted.transpose(0, 3, 1, 2), atol=1e-6)


def test_predict_logits_does_not_depend_on_the_batch_size(images: StoredImages) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(48, 7)
    )
    network.train()
    settings = ([0.5] * 3, [0.25] * 3, "cpu")
    whole = predict_logits(network, images, *settings)
    parts = predict_logits(network, images, *settings, batch_size=10)
    assert whole.dtype == np.float32
    assert whole.shape == (53, 7)
    assert np.allclose(whole, parts, atol=1e-5)
    assert network.training, "the mode is put back"


def test_logits_are_the_same_wherever_images_lie(images: StoredImages) -> None:
    network = torch.nn.Flatten()
    settings = ([0.0] * 3, [1.0] * 3, "cpu", 4)
    streamed = predict_logits(network, images, *settings)
    assert np.array_equal(predict_logits(network, images[:], *settings), streamed)
    assert np.array_equal(predict_logits(network, torch.tensor(images[:]), *settings), streamed)


def test_rows_are_read_in_their_order(images: StoredImages) -> None:
    network = torch.nn.Flatten()
    settings = ([0.0] * 3, [1.0] * 3, "cpu", 4)
    rows = np.array([7, 3, 50, 3, 8, 9, 10, 11, 12])
    whole = predict_logits(network, images, *settings)
    assert np.array_equal(predict_logits(network, images.select(rows), *settings), whole[rows])


@pytest.mark.parametrize(
    ("shape", "number"),
    [((32, 32, 3), 256), ((224, 224, 3), 111), ((512, 512, 3), 21), ((9000, 9000, 3), 1)],
)
def test_fewer_large_images_go_through_a_network_together(
    shape: tuple[int, int, int], number: int
) -> None:
    assert at_a_time(256, shape) == number


def test_what_a_network_enlarges_counts_as_large() -> None:
    sizes = []

    class Counts(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return images.mean((2, 3))

    network = torch.nn.Sequential(Entry(4, 512), Counts())
    predict_logits(network, np.zeros((30, 4, 4, 3), np.uint8), [0.0] * 3, [1.0] * 3)
    assert sizes == [21, 9]


def test_no_images_have_no_logits() -> None:
    network = torch.nn.Flatten()
    assert len(predict_logits(network, np.zeros((0, 2, 2, 1), np.uint8), [0.0], [1.0])) == 0
