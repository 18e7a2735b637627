"""The report, the model card, and what they say changed."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from classifier.core.files import read_json, write_json
from classifier.report.changes import Change, Changes, differences, since_last_commit
from classifier.report.figures.collection import Drawn, draw_all
from classifier.report.metric_table import as_table, test_metrics
from classifier.report.model_card import write_model_card
from classifier.report.page import PlotParams, _by_section, _changed, write_report
from classifier.report.results import Folders, Results
from tests.support.synthetic_results import make
from tools import ROOT

test_metrics.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return make(tmp_path_factory.mktemp("workspace"), classes=4, size=12, test=60)


@pytest.fixture(scope="module")
def drawn(where: Folders) -> list[Drawn]:
    return draw_all(Results.open(where), where.metrics / "figures", 12)


def write(where: Folders, drawn: list[Drawn], path: Path, changes: Changes | None = None) -> str:
    nothing = Changes(missing="There is no commit yet.")
    folder = where.metrics / "figures"
    write_report(path, Results.open(where), drawn, folder, changes or nothing, PlotParams())
    return path.read_text(encoding="utf-8")


def test_report_is_one_file_with_every_figure_and_the_same_bytes_again(
    where: Folders, drawn: list[Drawn], tmp_path: Path
) -> None:
    page = write(where, drawn, tmp_path / "a.html")
    assert page == write(where, drawn, tmp_path / "b.html")
    assert not re.search(r"(src|href)=[\"'](?!data:|#|(\.\./)?[\w/]+\.\w+[\"\'])", page)
    assert "url(" not in page
    for figure in drawn:
        assert f'id="{figure.name}"' in page
        assert figure.reading.split("’")[0][:30] in page
    assert "metrics/figures/" not in page  # nothing was left out
    accuracy = read_json(where.metrics / "evaluate.json")["test_accuracy"]
    assert f"{100 * accuracy:.2f} %" in page
    assert ">lr<" in page  # parameters stand under their section


def test_texts_of_the_data_cannot_become_markup(
    where: Folders, drawn: list[Drawn], tmp_path: Path
) -> None:
    page = write(where, drawn, tmp_path / "a.html")
    assert "a/&lt;b&gt;.png" in page
    assert "<b>.png" not in page


def test_report_without_optional_inputs(tmp_path: Path) -> None:
    where = make(tmp_path, classes=2, size=8, channels=1, test=20)
    for path in (
        *where.explain.iterdir(), *where.raw.iterdir(), where.metrics / "quality.json",
        where.metrics / "per_class.csv", where.metrics / "history.csv",
        where.metrics / "train.json", where.models / "summary.json",
    ):  # fmt: skip
        path.unlink()
    results = Results.open(where)
    few = draw_all(results, where.metrics / "figures", 8)
    assert "test images are right" in write(where, few, tmp_path / "report.html")
    write_model_card(tmp_path / "card.md", results)


def test_what_would_make_the_page_too_large_is_named_by_its_file(
    where: Folders, drawn: list[Drawn], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classifier.report.page.LARGEST", 200_000)
    page = write(where, drawn, tmp_path / "a.html")
    assert len(page) < 420_000
    assert "metrics/figures/" in page


def test_changes_are_shown(where: Folders, drawn: list[Drawn], tmp_path: Path) -> None:
    changes = Changes(
        tuple(
            differences(
                {"val_loss": 0.2, "test_loss": 0.5, "test_accuracy": 0.5, "gone": 1},
                {"val_loss": 0.1, "test_loss": 0.75, "test_accuracy": 0.75},
            )
        ),
        tuple(differences({"train": {"lr": 0.1}}, {"train": {"lr": 0.01}})),
    )
    page = write(where, drawn, tmp_path / "a.html", changes)
    assert "Accuracy</th>" in page
    assert "+25.00 points ▲<small>better" in page
    assert "+0.2500 ▲<small>worse" in page  # of the loss
    assert "-0.1000 ▼<small>better" in page
    assert "Loss, validation</th>" in page
    named = re.findall(
        r'row">(Accuracy|Loss|Loss, validation|Gone)</th>', page.split('"changes"')[1]
    )
    assert named == ["Accuracy", "Loss", "Loss, validation", "Gone"]
    assert "train.lr" in page
    assert "Gone</th>" in page


def test_what_is_not_at_its_default_comes_first(
    where: Folders, drawn: list[Drawn], tmp_path: Path
) -> None:
    defaults = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert _changed(defaults) == []
    defaults["train"]["lr"] = 0.5
    defaults["model"]["mlp"]["hidden"] = [7]
    assert _changed(defaults) == [
        ("model.mlp.hidden", [7], [128, 64]),
        ("train.lr", 0.5, 0.005),
    ]


def test_a_chart_says_in_words_what_it_shows(drawn: list[Drawn]) -> None:
    charts = {figure.name: figure.seen for figure in drawn if not figure.tiles}
    assert all(re.search(r"\d", text) for text in charts.values()), charts
    assert re.search(r"^\d+ of 60 images are on the diagonal; ", charts["confusion"])


def test_changes_since_the_last_commit(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    (tmp_path / "params.yaml").write_text("train: {lr: 0.1, widths: [1, 2]}\n", encoding="utf-8")
    write_json(tmp_path / "metrics/evaluate.json", {"test_accuracy": 0.5})
    assert "not a Git repository" in since_last_commit(tmp_path).missing
    git("init", "-q")
    assert "no commit" in since_last_commit(tmp_path).missing
    git("add", "params.yaml")
    git("commit", "-qm", "parameters")
    assert "no metrics" in since_last_commit(tmp_path).missing
    git("add", ".")
    git("commit", "-qm", "metrics")
    assert since_last_commit(tmp_path) == Changes()
    (tmp_path / "params.yaml").write_text("train: {lr: 0.2, widths: [1, 2]}\n", encoding="utf-8")
    write_json(tmp_path / "metrics/evaluate.json", {"test_accuracy": 0.75})
    found = since_last_commit(tmp_path)
    assert [(one.name, one.before, one.after) for one in found.metrics] == [
        ("test_accuracy", 0.5, 0.75)
    ]
    assert [one.name for one in found.params] == ["train.lr"]


def test_metrics_carry_their_intervals() -> None:
    figures = {"f1_macro": (0.5, 0.4, 0.6), "accuracy": (0.9, 0.8, 0.95)}
    figures["recall_weighted"] = figures["accuracy"]
    keys = ("value", "low", "high")
    details = {name: dict(zip(keys, ends, strict=True)) for name, ends in figures.items()}
    lines = as_table(test_metrics({"test": details})).splitlines()
    assert len(lines) == 2
    assert "80.00 % to 95.00 %" in lines[0]
    assert "0.4000 to 0.6000" in lines[1]


def test_model_card_has_the_front_matter_of_the_hub_and_the_run_s_metrics(
    where: Folders, tmp_path: Path
) -> None:
    results = Results.open(where)
    write_model_card(tmp_path / "a.md", results)
    write_model_card(tmp_path / "b.md", results)
    text = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["pipeline_tag"] == "image-classification"
    result = facts["model-index"][0]["results"][0]
    assert result["task"]["type"] == "image-classification"
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    evaluate = read_json(where.metrics / "evaluate.json")
    assert values["accuracy"] == evaluate["test_accuracy"]
    low = f"{100 * evaluate['test_accuracy_interval'][0]:.2f} %"
    assert low in body
    for heading in ("Data", "Metrics", "Intended use", "Limits", "How to load"):
        assert f"\n## {heading}\n" in body
    assert "4 pairs of near-duplicates" in body
    assert "\n\n\n" not in body


def test_stage_prints_the_metrics_and_where_to_look(where: Folders) -> None:
    root = where.params.parent
    command = [sys.executable, "-m", "stages.plot"]
    done = subprocess.run(
        command, cwd=root, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Accuracy" in done.stdout
    assert "metrics/report.html" in done.stdout
    report = root / "metrics/report.html"
    assert report.exists()
    assert (root / "models/MODEL_CARD.md").exists()


def test_stage_without_predictions_says_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("plot: {}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.plot"], cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "dvc repro" in done.stderr
    assert "Traceback" not in done.stderr


def report_of(where: Folders, changes: Changes, folder: Path) -> str:
    write_report(folder / "r.html", Results.open(where), [], folder, changes, PlotParams(8, 20))
    return (folder / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (Changes(missing="There is no commit yet."), "no baseline"),
        (Changes(), "the same"),
        (Changes((Change("test_accuracy", 0.25, 0.5),)), "+25.00 points ▲"),
        (Changes((Change("test_accuracy", 0.5, 0.25),)), "-25.00 points ▼"),
        (
            Changes((Change("test_accuracy", 0.5, 0.25),), (Change("download.path", "a", "b"),)),
            "not comparable",
        ),
    ],
)
def test_the_first_screen_says_how_it_stands_to_the_last_commit(
    changes: Changes, said: str, tmp_path: Path
) -> None:
    page = report_of(make(tmp_path, classes=3), changes, tmp_path)
    top = page[: page.index("</header>")]
    assert said in top
    assert "Overfit?" in top
    assert "Weakest classes" in top
    changed = page[page.index('<section id="changes">') :]
    assert ("side by side" in changed) == (said == "not comparable")


def test_networks_that_were_not_used_are_apart() -> None:
    params = {"model": {"name": "timm/x", "head": "linear", "cnn": {"a": 1}, "timm": {"b": 2}}}
    assert _by_section(params) == {
        "model": {"name": "timm/x", "head": "linear", "timm.b": 2},
        "model: networks that were not used": {"cnn.a": 1},
    }


def test_where_no_label_is_likely_wrong_the_page_says_where_doubtful_ones_are(
    where: Folders, drawn: list[Drawn], tmp_path: Path
) -> None:
    assert "No likely label errors" not in write(where, drawn, tmp_path / "a.html")
    none = [figure for figure in drawn if figure.name != "label_errors"]
    listed = len(pd.read_csv(where.explain / "label_errors.csv"))
    page = write(where, none, tmp_path / "a.html")
    assert "No likely label errors" in page
    assert f"label_errors.csv lists {listed}, and" in page
    bare = make(tmp_path, classes=3)
    (bare.explain / "label_errors.csv").unlink()
    page = report_of(bare, Changes(missing="none"), tmp_path)
    assert "No likely label errors" in page
    assert "label_errors.csv lists" not in page


def test_a_mistake_on_the_first_screen_is_never_at_100_per_cent(tmp_path: Path) -> None:
    where = make(tmp_path, classes=3)
    path = where.explain / "mistakes.csv"
    pd.read_csv(path).assign(probability=0.9996).to_csv(path, index=False)
    page = report_of(where, Changes(missing="none"), tmp_path)
    top = page[: page.index("</header>")]
    assert "<small>&gt;99.9\N{NO-BREAK SPACE}%</small>" in top
    assert "<small>100" not in top
