"""Training on encoded images: random crops of them, to the same bits however the run went."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing
from torch import distributed as dist

from classifier.augment.augmenter import AugmentParams
from classifier.augment.draws import Draws
from classifier.augment.geometric import draw_crops, random_crop, resample
from classifier.core.errors import UserError
from classifier.core.resize import Resize
from classifier.dataset import encoded_images
from classifier.dataset.encoded_images import Crop, EncodedImages, view
from classifier.dataset.prepared import PreparedData
from classifier.models.forward import to_unit
from classifier.preprocessing.encode import encoded
from classifier.training.distributed import Ranks
from classifier.training.run.checkpoint import Checkpoints
from classifier.training.session import Session
from tests.support.encoded_photos import prepared_photos
from tests.support.manifests import photo
from tests.support.training_runs import PARAMS, SMALL, digest, fit

pytestmark = pytest.mark.usefixtures("one_thread")

CROP = AugmentParams(crop=0.3, horizontal_flip="random", rotate=5, mixup=0.2)
PLAIN: dict[str, Any] = {
    "augment": CROP, "batch_size": 24, "lr": 0.05, "optimizer": "sgd", "schedule": "constant",
}  # fmt: skip
TOLERANCE = 2e-4  # as in test_ranks


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_photos(tmp_path_factory.mktemp("photos") / "prepared")


@pytest.fixture(scope="module")
def straight(photos: PreparedData) -> str:
    return digest(fit(photos, **PLAIN, epochs=3))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_that_decode_change_no_bit(
    photos: PreparedData, straight: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoded_images, "cores", lambda: threads)
    assert digest(fit(photos, **PLAIN, epochs=3)) == straight


def test_a_run_that_is_stopped_within_an_epoch_ends_in_the_same_bits(
    photos: PreparedData, straight: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path / "run", "100 epochs")
    read, reads = EncodedImages.read, 0

    def interrupted(images: EncodedImages, *args: Any) -> None:
        nonlocal reads
        reads += len(args) == 3  # with crops
        if reads == 5:  # of three batches an epoch
            os.kill(os.getpid(), signal.SIGINT)
        read(images, *args)

    with monkeypatch.context() as patched:
        patched.setattr(EncodedImages, "read", interrupted)
        with pytest.raises(KeyboardInterrupt, match="in epoch 2 of 3"):
            fit(photos, **PLAIN, epochs=3, checkpoints=checkpoints)
    state = checkpoints.load()
    assert state is not None
    assert state["step"] > 0
    assert digest(fit(photos, **PLAIN, epochs=3, checkpoints=checkpoints)) == straight


def train_here(rank: int, size: int, prepared: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=size)
    trained = fit(PreparedData.open(prepared), **PLAIN)
    torch.save(trained.network.state_dict(), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow  # test_ranks.py trains arrays in ranks; the tests above read encoded images
def test_two_ranks_train_the_model_of_one_process(photos: PreparedData, tmp_path: Path) -> None:
    multiprocessing.spawn(train_here, (2, photos.folder, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for key, expected in fit(photos, **PLAIN).network.state_dict().items():
        assert torch.equal(first[key], second[key]), key
        largest = expected.abs().max().clamp(min=1e-3)
        assert ((first[key] - expected).abs().max() / largest).item() < TOLERANCE, key


def test_each_step_has_other_crops_and_each_rank_those_of_its_rows(photos: PreparedData) -> None:
    def batches(ranks: Ranks) -> list[Tensor]:
        params = replace(PARAMS, batch_size=24)
        session = Session(params, SMALL, replace(CROP, mixup=0.0), photos, ranks)
        return [pixels for epoch in (0, 1) for _, (pixels, _, _) in session.epoch(epoch)]

    class Second(Ranks):
        """The second of two, without the other one."""

        def __init__(self) -> None:
            super().__init__()
            self.rank, self.size = 1, 2

        def parallel(self, network: torch.nn.Module) -> torch.nn.Module:
            return network

        def share_batch_statistics(self, network: torch.nn.Module, device: torch.device) -> None:
            pass

    whole, part = batches(Ranks()), batches(Second())
    assert len(whole) == 6
    assert all(torch.equal(a[12:], b) for a, b in zip(whole, part, strict=True))
    train = photos.images("train")[:]
    for pixels in whole:
        assert not any((image == train).all(axis=(1, 2, 3)).any() for image in pixels.numpy())


def test_a_crop_is_that_of_the_augmenter_with_more_detail() -> None:
    """Of an image that is large beside both, they are the same but for the resampling."""
    image = photo(1, (640, 640))
    _, data = encoded(image, 3, 640, "lossless")
    pixels = torch.from_numpy(np.array(image))[None].float()
    for seed in range(5):
        draws = [Draws(torch.Generator().manual_seed(seed)) for _ in range(2)]
        crop = Crop(*draw_crops(0.2, 1, draws[0])[:, 0].tolist())
        found = view(data, 640, 3, Resize(), crop)
        matrix = random_crop(0.2, 1, 640, draws[1])
        wanted = 255 * resample(to_unit(pixels.byte()), matrix)[0].permute(1, 2, 0).numpy()
        assert np.abs(found - wanted).mean() < 1


@pytest.mark.parametrize("augment", [AugmentParams(), replace(CROP, crop=1.0)])
def test_without_crops_it_is_the_training_of_the_arrays_that_evaluation_sees(
    photos: PreparedData, tmp_path: Path, augment: AugmentParams
) -> None:
    for split in ("train", "val"):
        np.save(tmp_path / f"{split}.npy", photos.images(split)[:])
        np.save(tmp_path / f"{split}_labels.npy", photos.labels(split))
    meta = {key: value for key, value in photos.meta.items() if key != "encoded"}
    arrays = PreparedData(tmp_path, meta)
    settings = {**PLAIN, "augment": augment}
    wanted = digest(fit(arrays, **settings))
    for placement in ("resident", "stream"):
        assert digest(fit(photos, **settings, data_placement=placement)) == wanted


def test_one_view_of_each_image_has_no_random_crops(photos: PreparedData) -> None:
    with pytest.raises(UserError, match=r"train\.data_placement: resident .* augment\.crop"):
        fit(photos, **PLAIN, data_placement="resident")
