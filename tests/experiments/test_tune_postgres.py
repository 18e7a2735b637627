"""Several workers on one study in PostgreSQL, against a real server."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from optuna import Study
from optuna.exceptions import StorageInternalError

from classifier.commands import tune
from classifier.experiments.search_space import Axis
from classifier.experiments.tune import Search, open_study
from tests.support import toy_project
from tests.support.postgres import postgres
from tests.support.toy_project import Toy, wait_for


@pytest.fixture
def database() -> Iterator[str]:
    with postgres() as url:
        yield url


def search_in(project: Toy) -> Search:
    return Search("search", [Axis("train.lr", 0.1, 0.9)], {}, "val_accuracy", 0, project.path)


def test_workers_that_start_together_find_one_study(database: str, toy: Toy) -> None:
    workers = 6
    together = threading.Barrier(workers)

    def study(_: int) -> int:
        together.wait()
        return int(open_study(search_in(toy), database, prune=True, epochs=4)._study_id)

    with ThreadPoolExecutor(workers) as pool:
        assert len(set(pool.map(study, range(workers)))) == 1
    trials = open_study(search_in(toy), database, prune=True, epochs=4).get_trials()
    assert len(trials) == 1, "the present parameters, once"


def test_two_workers_share_a_study(database: str, toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    arguments = ["-S", "train.lr=interval(0.1,0.9)", "--storage", database, "--trials", "4"]
    processes = [project.start("tune", *arguments, seconds=0.2) for _ in range(2)]
    said = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    trials = open_study(search_in(project), database, prune=True, epochs=4).get_trials()
    assert [trial.state.name for trial in trials].count("COMPLETE") >= 4
    assert len({str(trial.user_attrs["process"]) for trial in trials}) == 2


@pytest.mark.slow
def test_the_trial_of_a_worker_that_died_elsewhere_is_run_again(
    database: str, toy: Toy, tmp_path: Path
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    # Without the present value, which DVC has run already.
    arguments = ["-S", "train.lr=interval(0.6,0.9)", "--storage", database, "--trials", "1"]
    told = project.path / ".run/tune/search/tune-search-0.jsonl"
    process = project.start("tune", *arguments, seconds=60)
    wait_for(lambda: told.exists() and "epoch" in told.read_text(encoding="utf-8"))
    study = open_study(search_in(project), database, prune=True, epochs=4)
    (trial,) = study.get_trials()
    study._storage.set_trial_user_attr(trial._trial_id, "host", "elsewhere")
    process.kill()
    process.communicate()

    other = toy_project.copy(toy, tmp_path / "other")
    said = other.start("tune", *arguments, seconds=0).communicate(timeout=200)[1]
    trials = study.get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"], said
    assert trials[0].params == trials[1].params


def test_a_server_that_does_not_answer_is_one_sentence_without_a_password(toy: Toy) -> None:
    said = toy.refused("tune", "--storage", "postgresql://me:secret@127.0.0.1:1/none")
    assert said.startswith("the study at postgresql://127.0.0.1:1/none cannot be opened: ")
    assert "secret" not in said


def test_a_server_that_stops_answering_is_one_sentence(
    database: str, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(study: Study, *_: object) -> None:
        raise StorageInternalError("commit") from OSError("server closed the connection")

    monkeypatch.setattr(tune, "run_trials", stopped)
    said = toy.refused("tune", "--storage", database)
    assert "database does not answer (server closed the connection): run the same" in said
