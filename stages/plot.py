"""Draw the figures, write the report and the model card, and print what the run came to."""

from pathlib import Path

from classifier.core.files import replacing
from classifier.core.params import load
from classifier.core.process import stage
from classifier.report.changes import since_last_commit
from classifier.report.figures.collection import draw_all
from classifier.report.figures.fonts import fonts_for
from classifier.report.metric_table import as_table, test_metrics
from classifier.report.model_card import write_model_card
from classifier.report.page import PlotParams, write_report
from classifier.report.results import Folders, Results

FIGURES, REPORT = Path("metrics/figures"), Path("metrics/report.html")


def main() -> None:
    params = load("plot", PlotParams)
    folders = Folders(
        raw=Path("data/raw"),
        prepared=Path("data/prepared"),
        predictions=Path("data/predictions"),
        explain=Path("data/explain"),
        metrics=Path("metrics"),
        models=Path("models"),
        params=Path("params.yaml"),
    )
    results = Results.open(folders)
    with replacing(FIGURES) as folder:
        drawn = draw_all(results, folder, params.images)
    write_report(REPORT, results, drawn, FIGURES, since_last_commit(Path()), params)
    write_model_card(Path("models/MODEL_CARD.md"), results)
    print(as_table(test_metrics(results.metrics("details"))))
    if missing := fonts_for("".join(results.data.classes)).missing:
        print(
            f"No font of this system has {missing[:40]}: boxes stand for these letters in figures."
        )
    print(f"{len(drawn)} figures in {FIGURES}/, and all in one page: {REPORT}")


if __name__ == "__main__":
    stage("plot", main)
