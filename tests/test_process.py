"""What a stage says of itself to whoever started it."""

import json
from pathlib import Path

import pytest

from classifier.errors import UserError
from classifier.history import LiveFiles
from classifier.process import PROGRESS, stage

ROWS = [{"epoch": 1, "val_loss": 0.5, "lr": 0.1}, {"epoch": 2, "val_loss": 0.25, "lr": 0.1}]


def train(history: list[dict[str, float]]) -> None:
    live = LiveFiles(Path("history.csv"), Path("train.json"), Path("live"))
    live(history[:1])
    live(history)
    raise UserError("the loss is not a number.")


def test_a_stage_tells_its_epochs_and_its_error_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(PROGRESS, str(tmp_path / "told.jsonl"))
    with pytest.raises(SystemExit):
        stage("train", lambda: train(ROWS))
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert told == [{"stage": "train"}, *ROWS, {"error": "the loss is not a number."}]

    monkeypatch.delenv(PROGRESS)
    (tmp_path / "told.jsonl").unlink()
    with pytest.raises(SystemExit):
        stage("train", lambda: train(ROWS))
    assert not (tmp_path / "told.jsonl").exists()
