"""A finished model as the start of another training, through DVC."""

import json
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from tests.pipeline.test_resume import MODEL, ONE_THREAD, digest
from tests.support import workspace
from tests.support.toy_project import Toy
from tests.support.workspace import Workspace

SHORT = ("-S", "train.epochs=1", "-S", "train.lr=0.0001", "-S", "evaluate.bootstrap_samples=20")


@pytest.fixture
def project(finished: Workspace, tmp_path: Path) -> Toy:
    return Toy(workspace.copy(finished, tmp_path / "project").path)


def keep(project: Toy, *arguments: str) -> str:
    """Put a model aside; the value of model.pretrained that the command names."""
    output = project.classifier("keep", *arguments)
    return output.split("-S model.pretrained=")[1].split()[0]


def val_accuracy(project: Toy) -> float:
    accuracy: float = json.loads(project.read("metrics/train.json"))["val_accuracy"]
    return accuracy


def test_a_kept_model_goes_on_and_the_run_can_be_had_again(project: Toy) -> None:
    before = val_accuracy(project)
    start = keep(project, "first")
    assert Path(start).name.startswith("first-")
    assert (project.path / start).read_bytes() == (project.path / MODEL).read_bytes()
    assert start + ".dvc" in project.run("git", "diff", "--cached", "--name-only").stdout
    project.commit("a start")
    project.set(train__epochs=1, train__lr=0.0001, model__pretrained=start)
    project.dvc("repro", "-s", "train", env=ONE_THREAD)
    assert val_accuracy(project) > before - 0.03, "one epoch from scratch does not come near"
    model = digest(project)
    # Weights are data: without them, and without what came of them, they come from the cache.
    (project.path / start).unlink()
    with pytest.raises(UserError, match=f"{start} does not exist: run dvc pull {start}"):
        project.stages("train")
    project.dvc("checkout", f"{start}.dvc")
    (project.path / MODEL).unlink()
    project.stages("train")
    assert digest(project) == model
    assert keep(project) != start, "another content has another name"


@pytest.mark.slow  # DVC copies what is staged, and the test above says that the start is
@pytest.mark.parametrize("where", ["--temp", "--queue"])
def test_experiments_in_folders_of_their_own_find_it_before_it_is_committed(
    project: Toy, where: str
) -> None:
    start = keep(project)
    project.dvc("exp", "run", where, "-n", "on", *SHORT, "-S", f"model.pretrained={start}",
                env=ONE_THREAD)  # fmt: skip
    if where == "--queue":
        project.dvc("queue", "start", env=ONE_THREAD)
        project.dvc("queue", "logs", "-f", "on")
    project.dvc("exp", "apply", "on")
    assert val_accuracy(project) > 0.9


def test_the_model_itself_is_refused_and_kept_although_dvc_removed_it(project: Toy) -> None:
    project.set(model__pretrained=MODEL)
    (project.path / MODEL).unlink()  # as DVC does before it runs the stage
    with pytest.raises(UserError) as refused:
        project.stages("train")
    said = str(refused.value)
    assert said.startswith(f"model.pretrained: {MODEL} is an output of train, which DVC removes")
    assert "python -m classifier keep" in said
    start = keep(project)
    project.dvc("checkout", MODEL)
    assert (project.path / start).read_bytes() == (project.path / MODEL).read_bytes()


def test_what_is_no_model_is_not_kept(project: Toy) -> None:
    for arguments in (["--model", "params.yaml"], ["--rev", "none"], ["--model", "none"]):
        assert project.refused("keep", *arguments)
    assert not (project.path / "models/kept").exists()
