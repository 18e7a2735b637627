"""What a run in progress shows of itself: files that are up to date after every epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from classifier.core.csv_files import write_table
from classifier.core.files import write_json
from classifier.core.process import tell

Row = Mapping[str, float]


class LiveFiles:
    """Keeps the table, the metrics and DVCLive's files in step with a run's history."""

    def __init__(self, history: Path, metrics: Path, live: Path) -> None:
        """Write the table ``history``, the JSON file ``metrics`` and the folder ``live``."""
        self.history, self.metrics, self.live = history, metrics, live
        self._log: Any = None
        self._logged = 0

    def __call__(self, history: Sequence[Row]) -> None:
        """Take the history of all epochs so far."""
        if not history:
            return
        write_table(self.history, history, missing="nan")
        last = history[-1]
        write_json(self.metrics, {"epochs": len(history), **_scores(last)})
        if self._log is None:
            from dvclive import Live

            # Otherwise DVCLive edits dvc.yaml and makes an experiment of its own.
            self._log = Live(str(self.live), dvcyaml=None, save_dvc_exp=False)
        for row in history[self._logged :]:
            tell(**row)
            for name, value in row.items():
                if name != "epoch":
                    self._log.log_metric(name, value)
            self._log.next_step()
        self._logged = len(history)

    def finish(self, history: Sequence[Row], result: Mapping[str, Any]) -> None:
        """Replace the last epoch's metrics by those of the whole run."""
        self(history)
        self._log.end()
        write_json(self.metrics, result)


def _scores(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if name not in ("epoch", "lr")}
