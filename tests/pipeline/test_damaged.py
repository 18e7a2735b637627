"""Nothing that is missing or damaged is trusted: the stage that reads it says so."""

import shutil
from pathlib import Path

import pytest

from classifier.core.errors import UserError, of_the_machine
from tests.core.test_files import damage
from tests.support import workspace
from tests.support.workspace import Workspace

READERS = {
    "data/raw/manifest.csv": ["split", "preprocess"],
    "data/raw/classes.json": ["preprocess"],
    "data/raw/rejected.csv": ["split", "plot"],
    "data/raw/source.json": ["plot"],
    "data/raw/shard-00000.tar": ["preprocess"],
    "data/splits/split.csv": ["preprocess"],
    "data/prepared/meta.json": ["train", "evaluate", "plot"],
    "data/prepared/train.npy": ["train", "evaluate"],
    "data/prepared/val_labels.npy": ["train", "evaluate"],
    "data/prepared/test_labels.npy": ["evaluate", "plot"],
    "data/prepared/index.csv": ["evaluate", "plot"],
    "models/model.safetensors": ["evaluate"],
    "models/summary.json": ["plot"],
    "models/augmentation.npz": ["plot"],
    "metrics/train.json": ["plot"],
    "metrics/history.csv": ["plot"],
    "metrics/evaluate.json": ["plot"],
    "metrics/details.json": ["plot"],
    "metrics/per_class.csv": ["plot"],
    "metrics/quality.json": ["plot"],
    "metrics/plots/reliability.csv": ["plot"],
    "data/predictions/test_logits.npy": ["plot"],
    "data/explain/mistakes.csv": ["plot"],
    "data/explain/embedding.csv": ["plot"],
    "data/explain/feature_maps.npz": ["plot"],
    "data/explain/explain.json": ["plot"],
}
# What plot can do without: DVC itself sees that it is there.
OPTIONAL = {file for file, stages in READERS.items() if stages == ["plot"]} | {
    "data/raw/rejected.csv"
}
HOW = ("gone", "empty", "half", "junk", "folder")


@pytest.fixture(scope="module")
def project(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = workspace.copy(finished, tmp_path_factory.mktemp("damaged"))
    place.set(train__epochs=1, evaluate__bootstrap_samples=10, plot__images=4)
    place.stages("train", "evaluate")
    return place


def check(project: Workspace, file: str, how: str, stage: str) -> None:
    """Damage a file, run a stage that reads it, and put the file back."""
    path, kept = project.path / file, project.path.parent / "kept"
    shutil.copy2(path, kept)
    damage(path, how)
    try:
        project.stages(stage)
    except (UserError, OSError) as error:
        sentence = str(error) if isinstance(error, UserError) else of_the_machine(error)
        assert sentence
        assert "\n" not in sentence
        assert Path(file).parent.as_posix() in sentence
    else:
        # Half a table may be one.
        whole = how == "half" or (how == "gone" and file in OPTIONAL)
        assert whole, f"{stage} took a {file} that is {how}"
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.copy2(kept, path)


@pytest.mark.parametrize(
    ("file", "how", "stage"),
    [
        ("data/raw/classes.json", "half", "preprocess"),
        ("data/raw/shard-00000.tar", "empty", "preprocess"),
        ("data/prepared/meta.json", "junk", "train"),
        ("data/prepared/val_labels.npy", "gone", "train"),
        ("models/model.safetensors", "folder", "evaluate"),
        ("data/predictions/test_logits.npy", "junk", "plot"),
    ],
)
def test_a_damaged_input_is_one_sentence(
    project: Workspace, file: str, how: str, stage: str
) -> None:
    check(project, file, how, stage)


@pytest.mark.slow
@pytest.mark.parametrize("file", READERS)
def test_every_input_of_every_stage_in_every_way(project: Workspace, file: str) -> None:
    for stage in READERS[file]:
        for how in HOW:
            check(project, file, how, stage)
