"""Models from before and after a correction of the test set are judged by the same labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.core.errors import UserError
from classifier.experiments.compare import compare
from classifier.experiments.corrected import judged_alike
from classifier.experiments.revisions import Predictions
from classifier.splits.corrections import Correction
from tests.experiments.test_compare import PARAMS, made_up
from tests.support import toy_project
from tests.support.toy_project import Toy


def table(*names: str, label: str = "", action: str = "exclude") -> dict[str, Correction]:
    return {name: Correction(name, action, label, "", "2026-03-31") for name in names}


def corrected(base: Predictions, row: int, out: int) -> tuple[Predictions, dict[str, Correction]]:
    """The predictions of a run in which one test image has another label and one is left out."""
    labels = base.labels.copy()
    labels[row] = (labels[row] + 1) % 3
    kept = np.arange(len(labels)) != out
    after = replace(base, labels=labels[kept], ids=base.ids[kept], logits=base.logits[kept])
    name = base.classes[labels[row]]
    return replace(after, name="after"), {
        **table(base.ids[row], label=name, action="relabel"),
        **table(base.ids[out]),
    }


def test_both_are_judged_by_the_corrected_labels_whatever_their_order() -> None:
    before = made_up("before", 0.5, 1)
    after, rows = corrected(before, 7, 9)
    for parts, tables in (([before, after], [{}, rows]), ([after, before], [rows, {}])):
        found, told = judged_alike(parts, tables)
        assert told == (
            "data/corrections.csv corrects test images (1 with another label, 1 left out): all are "
            "judged by the labels of after, on the 499 images that all have."
        )
        assert all((part.labels == after.labels).all() for part in found)
        assert compare(found, PARAMS)[0].images == 499


def test_corrections_of_train_alone_leave_test_as_it_is() -> None:
    parts = [made_up("a", 0.5, 1), made_up("b", 0.6, 2)]
    found, told = judged_alike(parts, [{}, table("train-1")])
    assert (found, told) == (parts, "")


def test_what_no_table_explains_is_refused_as_before() -> None:
    before = made_up("before", 0.5, 1)
    after, _ = corrected(before, 7, 9)
    for tables in ([{}, {}], [{}, table("i9")], [table("i1"), table("i7", "i9")]):
        found, told = judged_alike([before, after], tables)
        assert told == ""
        with pytest.raises(UserError, match="different test sets"):
            compare(found, PARAMS)


def test_a_table_that_was_changed_after_the_run_is_said() -> None:
    before = made_up("before", 0.5, 1)
    after, rows = corrected(before, 7, 9)
    late = {**rows, **table("i7", label=before.classes[before.labels[7]], action="relabel")}
    with pytest.raises(UserError, match=r"after was run before data/corrections\.csv called i7"):
        judged_alike([before, after], [{}, late])


def test_compare_says_so_and_reads_tables_of_every_age(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    labels = np.load(project.path / "data/prepared/test_labels.npy")
    new = ["cat", "dog", "owl"][(labels[0] + 1) % 3]
    assert "corrects" not in project.classifier("compare", "--top", "0")
    text = f"id,action,label,reason,date\ntest-0-0,relabel,{new},looks so,2026-03-31\n"
    (project.path / "data/corrections.csv").write_text(text)
    labels[0] = (labels[0] + 1) % 3
    (project.path / "data/prepared/test_labels.npy").unlink()
    np.save(project.path / "data/prepared/test_labels.npy", labels)
    said = project.classifier("compare", "--top", "0")
    assert said.startswith(
        "Rows of data/corrections.csv: 0 in HEAD, 1 in workspace.\n\n"
        "data/corrections.csv corrects test images (1 with another label): all are judged by the "
        "labels of workspace, on the 400 images that all have.\n\nworkspace against HEAD: "
    )
    (project.path / "data/corrections.csv").write_text("nonsense\n")
    assert project.refused("compare").startswith(
        "data/corrections.csv of workspace: the first line"
    )
