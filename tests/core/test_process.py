"""What a stage says of itself to whoever started it."""

import json
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.core.process import PROGRESS, run_dir, stage
from classifier.training.run.live_files import LiveFiles
from tests.support import toy_project
from tests.support.toy_project import Toy

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


def test_an_experiment_in_a_folder_of_its_own_keeps_its_state_in_the_project(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    code = project.read("toy.py")
    told = code.replace('tell(stage="train")', 'tell(at=os.getcwd(), root=os.environ["DVC_ROOT"])')
    assert told != code
    (project.path / "toy.py").write_text(told, encoding="utf-8")
    progress = tmp_path / "told.jsonl"
    project.dvc("exp", "run", "--temp", "-S", "train.lr=0.7", env={PROGRESS: str(progress)})
    facts = json.loads(progress.read_text(encoding="utf-8").splitlines()[0])
    assert not Path(facts["at"]).exists()
    monkeypatch.setenv("DVC_ROOT", facts["root"])
    assert run_dir() == project.path / ".run"
