"""timm's networks in training: from scratch, and fine-tuned group by group."""

from pathlib import Path

import pytest
import torch

from classifier.augment.augmenter import AugmentParams
from classifier.dataset.prepared import PreparedData
from classifier.models import model_file
from classifier.models.registry import ModelParams
from classifier.training import transfer
from tests.support.prepared_digits import prepared_digits
from tests.support.training_runs import fit

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = AugmentParams()
NAME = "timm/test_byobnet"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    return prepared_digits(tmp_path_factory.mktemp("prepared"), train=384, val=96)


def test_it_learns_and_is_fine_tuned_group_by_group(data: PreparedData, tmp_path: Path) -> None:
    path = str(tmp_path / "first.safetensors")
    first = fit(data, PLAIN, model=ModelParams(NAME, input_size=32), epochs=5, batch_size=32)
    assert first.metrics()["val_accuracy"] > 0.8
    model_file.save(path, first.network, first.spec())

    params = ModelParams(NAME, pretrained=path, freeze=3)
    second = fit(data, PLAIN, model=params, epochs=2, lr=0.003, layer_decay=0.5)
    assert second.metrics()["val_accuracy"] > first.metrics()["val_accuracy"] - 0.05
    before, after = (run.network.state_dict() for run in (first, second))
    groups = list(second.network.layer_groups())
    assert groups == ["stem", "stages.0", "stages.1", "stages.2", "stages.3"]
    changed = {
        name
        for name in groups
        for key, value in after.items()
        if f".{name}." in key and not torch.equal(value, before[key])
    }
    assert changed == set(groups[3:]), "statistics of batch norms included"

    params = ModelParams(NAME, pretrained=path, freeze="backbone", unfreeze_every=2)
    for epoch, frozen in enumerate((5, 5, 4, 4, 3)):
        assert transfer.freeze(second.network, params, epoch) == frozen
        trained = [weights[0].requires_grad for weights in second.network.layer_groups().values()]
        assert trained == [number >= frozen for number in range(5)]
