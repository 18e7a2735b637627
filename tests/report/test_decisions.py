"""The report's section of decisions, at two classes and at ten, with thresholds and without."""

from pathlib import Path

import pandas as pd
import pytest

from classifier.core.files import read_json, write_json
from classifier.report.changes import Changes
from classifier.report.model_card import write_model_card
from classifier.report.page import PlotParams, write_report
from classifier.report.results import Results
from tests.support.synthetic_results import make


def section(root: Path, classes: int, decided: bool = True) -> str:
    where = make(root, classes=classes)
    if not decided:
        details = read_json(where.metrics / "details.json")
        del details["decision"]
        write_json(where.metrics / "details.json", details)
        if classes > 2:
            pd.DataFrame(columns=["class", "threshold"]).to_csv(
                where.metrics / "tables/operating_points.csv", index=False
            )
    write_report(root / "report.html", Results.open(where), [], root, Changes(), PlotParams(8, 20))
    text = (root / "report.html").read_text(encoding="utf-8")
    return text[text.index('<section id="decisions">') : text.index('<section id="mistakes">')]


@pytest.mark.parametrize("classes", [2, 10])
def test_thresholds_and_coverage_have_a_section_of_their_own(tmp_path: Path, classes: int) -> None:
    text = section(tmp_path, classes)
    title = "The positive class: automobile" if classes == 2 else "The threshold of each class"
    assert title in text
    assert "evaluate.threshold is max_f1, and the model answers by it" in text
    assert text.count('<tr><th scope="row">') == (1 if classes == 2 else 10) + 4
    for target in ("95 %", "98 %", "99 %", "99.5 %"):
        assert f'<th scope="row">{target}</th>' in text


def test_without_thresholds_it_says_so_or_shows_none(tmp_path: Path) -> None:
    assert "No threshold was chosen" in section(tmp_path / "two", 2, decided=False)
    text = section(tmp_path / "ten", 10, decided=False)
    assert "threshold" not in text.lower().replace("thresholds, and not sure", "")
    assert "Coverage at a promised accuracy" in text


@pytest.mark.parametrize("classes", [2, 10])
def test_the_model_card_says_which_answers_are_given(tmp_path: Path, classes: int) -> None:
    where = make(tmp_path, classes=classes)
    details = read_json(where.metrics / "details.json")
    details["answers"] = {"coverage": 0.75, "accuracy": 0.9875}
    details["decision"] |= {
        "not_sure_below": 0.62,
        "target_accuracy": 0.97,
        "certainty": 0.95,
        "rule": "max_f1",
    }
    write_json(where.metrics / "details.json", details)
    write_model_card(tmp_path / "CARD.md", Results.open(where))
    text = (tmp_path / "CARD.md").read_text(encoding="utf-8")
    part = text[text.index("## Answers") : text.index("## Intended use")]
    assert "by the rule `max_f1`" in part
    assert ("from a probability of" in part) == (classes == 2)
    assert "Below a probability of 0.62 the answer is *not sure*" in part
    assert "right for at least 97 % of the images" in part
    assert "75.00 % of the images get an answer, and 98.75 % of these are right." in part
    del details["decision"]
    write_json(where.metrics / "details.json", details)
    write_model_card(tmp_path / "CARD.md", Results.open(where))
    assert "## Answers" not in (tmp_path / "CARD.md").read_text(encoding="utf-8")
