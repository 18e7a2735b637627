"""The files for TensorBoard."""

import dataclasses
from pathlib import Path

import pytest

from classifier.dataset.prepared import PreparedData
from classifier.training.loop import train
from tests.support.prepared_digits import prepared_digits
from tests.support.training_runs import PARAMS, SHIFT, SMALL, digest, fit

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("digits"), train=512, val=128)


def test_tensorboard_files_hold_what_was_asked_for(data: PreparedData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from classifier.training.run.tensorboard import Board

    board = Board(tmp_path)
    plain = digest(fit(data))
    params = dataclasses.replace(PARAMS)
    trained = train(params, SMALL, SHIFT, data, board=board, say=lambda line: None)
    board.close()
    assert digest(trained) == plain, "looking on changes nothing"
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = events.Tags()
    assert {"train_loss", "val_accuracy", "lr"} <= set(tags["scalars"])
    assert len(events.Scalars("val_loss")) == 2
    assert any(name.startswith("weights/") for name in tags["histograms"])
    assert any(name.startswith("gradients/") for name in tags["histograms"])
    assert {"activations/block1", "activations/block2"} <= set(tags["images"])
    assert tags["graph"]
