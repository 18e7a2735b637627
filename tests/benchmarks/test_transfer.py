"""What a pretrained backbone buys, measured on CIFAR-10 where its images are there."""

import os
from pathlib import Path

import pytest

from benchmarks.transfer import measure


@pytest.mark.slow
def test_transfer_beats_training_from_scratch() -> None:
    """Eight classes of CIFAR-10 first, then 50 images each of the other two."""
    if "CIFAR10_IMAGES" not in os.environ:
        pytest.skip("set CIFAR10_IMAGES to a folder with train/CLASS/*.jpg and test/CLASS/*.jpg")
    scores = measure(
        Path(os.environ["CIFAR10_IMAGES"]), pretrain_images=1000, pretrain_epochs=6, seeds=(0, 1)
    )
    scratch = max(scores["from scratch"])
    assert min(scores["frozen backbone"]) > scratch
    assert min(scores["fine-tuned"]) > scratch
