"""Searches: what they may choose, every trial an experiment, none lost but the one in flight."""

import csv
import signal
from pathlib import Path

import optuna
import pytest
import yaml

from classifier.core.errors import UserError
from classifier.experiments.overrides import Sweep, parse_overrides
from classifier.experiments.search_space import Axis, parse_space
from classifier.experiments.tune import Search, open_study
from tests.support import toy_project
from tests.support.toy_project import Toy, wait_for


def test_axes_are_told_from_plain_changes() -> None:
    axes, plain = parse_space(
        [
            "train.lr=tag(log, interval(1e-4,1e-1))",
            "train.batch_size=log(16, 256)",
            "train.epochs=range(2,8,2)",
            "train.optimizer=choice(adamw, sgd)",
            "model.cnn.filters=[8,16],[16,32]",
            "train.seed=3",
        ]
    )
    assert plain == {"train.seed": 3}
    assert axes[0] == Axis("train.lr", 1e-4, 1e-1, log=True)
    assert [axis.whole for axis in axes[:3]] == [False, True, True]
    assert axes[2].extremes() == [2, 6]  # the end is left out, as `dvc exp run -S` does
    assert axes[3].extremes() == ["adamw", "sgd"]
    assert axes[4].value("[16,32]") == [16, 32]
    assert axes[4].place([8, 16]) == "[8,16]"
    assert axes[2].place(4) == 4
    assert axes[2].place(5) is None
    assert axes[0].place(1.0) is None


def test_log_is_short_for_a_tagged_interval() -> None:
    for short, long in (
        ("log(1e-4,1e-1)", "tag(log,interval(1e-4,1e-1))"),
        ("log(16,256)", "int(tag(log,interval(16,256)))"),
    ):
        assert parse_space([f"train.lr={short}"]) == parse_space([f"train.lr={long}"])


def test_what_is_chosen_lies_on_its_axis() -> None:
    texts = ["a.b=log(1,100)", "a.c=interval(0,1)", "a.d=range(0.1,0.7,0.2)", "a.e='x y',[1]"]
    axes, _ = parse_space(texts)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(30):
        trial = study.ask()
        b, c, d, e = (axis.value(axis.suggest(trial)) for axis in axes)
        assert isinstance(b, int)
        assert 1 <= b <= 100
        assert 0 <= c <= 1
        assert any(d == pytest.approx(value) for value in (0.1, 0.3, 0.5))
        assert e in ("x y", [1])
        seen.add(round(d, 6))
    assert seen == {0.1, 0.3, 0.5}


@pytest.mark.parametrize(
    "text", ["range(1,4)", "range(3,12,4)", "range(0,0.3,0.1)", "range(0,1,3)"]
)
def test_a_range_of_a_search_is_that_of_a_sweep(text: str) -> None:
    swept = parse_overrides([f"a.b={text}"], sweeps=True)["a.b"]
    if not isinstance(swept, Sweep):
        with pytest.raises(UserError, match="the end is left out"):
            parse_space([f"a.b={text}"])
        return
    ((axis,), _) = parse_space([f"a.b={text}"])
    assert axis.extremes() == pytest.approx([swept.choices[0], swept.choices[-1]])
    assert axis.step == pytest.approx(swept.choices[1] - swept.choices[0])


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["train.lr=uniform(1,2)"], r"give choice.* or log\(a,b\)"),
        (["train.lr=log(1,2)", "train.lr=log(2,3)"], "given twice"),
        (["train.lr=log(1,2)", "train.lr=2"], "given twice"),
        (["train.lr=log(a,b)"], "with numbers for bounds"),
        (["train.lr=log(0,1)"], "above 0"),
        (["train.lr=interval(2,1)"], "low number comes first"),
        (["train.lr=range(3,3)"], "low number comes first"),
        (["train.lr=range(1,5,0)"], "a step is above 0"),
        (["train.lr=interval(1)"], "with numbers for bounds"),
        (["train.lr=tag(lg,interval(1,2))"], "no tag lg"),
        (["train.lr=tag(log,range(1,5))"], "no tag log"),
        (["train.optimizer=choice(sgd)"], "two or more"),
        (["train.optimizer=choice(sgd,sgd)"], "two or more"),
        (["train.optimizer=glob(s*)"], "give choice"),
    ],
)
def test_a_wrong_axis_is_refused(texts: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_space(texts)


@pytest.fixture(scope="module")
def searched(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A search that was stopped after one trial, then went on to three."""
    project = toy_project.copy(toy, tmp_path_factory.mktemp("tune") / "project")
    project.classifier("tune", "-S", "train.lr=interval(0.1,0.9)", "--trials", "1")
    project.classifier("tune", "-S", "train.lr=interval(0.1,0.9)", "--trials", "3", "--apply")
    return project


def rows(project: Toy, study: str = "search") -> list[dict[str, str]]:
    with (project.path / f"runs/{study}/trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_trial_is_an_experiment_and_the_study_goes_on(searched: Toy) -> None:
    found = rows(searched)
    assert [row["state"] for row in found] == ["complete"] * 3
    assert float(found[0]["train.lr"]) == 0.5  # the present value comes first
    assert len({row["train.lr"] for row in found}) == 3
    shown = searched.dvc("exp", "show", "--csv").stdout
    for row in found:
        assert row["experiment"] in shown
        # The toy's accuracy is its learning rate.
        assert float(row["val_accuracy"]) == pytest.approx(float(row["train.lr"]), rel=1e-4)
    for name in ("history.png", "importance.png"):
        assert (searched.path / "runs/search" / name).stat().st_size > 5000


def test_a_figure_that_evaluate_alone_measures_can_be_searched(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    search = ["-S", "train.lr=0.4,0.8", "--metric", "val_aurc", "--trials", "2", "--study", "risk"]
    printed = project.classifier("tune", *search)
    found = rows(project, "risk")
    assert [row["state"] for row in found] == ["complete"] * 2
    best = min(found, key=lambda row: float(row["val_aurc"]))  # lower is better
    assert f"best: {best['experiment']}, val_aurc {float(best['val_aurc']):.4f}" in printed
    assert float(best["train.lr"]) == max(float(row["train.lr"]) for row in found)


def test_the_best_trial_is_applied(searched: Toy) -> None:
    best = max(float(row["train.lr"]) for row in rows(searched))
    assert yaml.safe_load(searched.read("params.yaml"))["train"]["lr"] == pytest.approx(best)


def test_mistakes_get_one_sentence(toy: Toy) -> None:
    for arguments, words in (
        (["-S", "train.lrr=log(1,2)"], "train.lrr is not a parameter"),
        (
            ["-S", "train.batch_size=interval(1,2.5)"],
            "train.batch_size is 1.0: give a whole number",
        ),
        (["-S", "train.lr=log(1e-3,1)", "-S", "train.lr=1"], "train.lr is given twice"),
        (["--metric", "test_accuracy"], "validation alone"),
        (["--trials", "-1"], "--trials is -1"),
        (["--study", "a b"], "letters, digits"),
        (["--storage", "nosql://x", "--trials", "0"], "cannot be opened"),
        (["--trials", "0"], "no trial has finished"),
    ):
        assert words in toy.refused("tune", *arguments), arguments


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_search_loses_at_most_the_trial_in_flight(
    toy: Toy, tmp_path: Path, how: signal.Signals
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    search = ["-S", "train.lr=interval(0.1,0.9)", "--seed", "1", "--trials", "2"]
    project.classifier("tune", *search[:-1], "1")
    told = project.path / ".run/tune/search/tune-search-1.jsonl"
    process = project.start("tune", *search, seconds=60)
    wait_for(lambda: told.exists() and "epoch" in told.read_text(encoding="utf-8"))
    process.send_signal(how)
    said = process.communicate(timeout=60)[1]
    if how == signal.SIGINT:
        assert "stopped; run the same command again" in said
    project.classifier("tune", *search)
    found = rows(project)
    assert [row["state"] for row in found] == ["complete", "fail", "complete"]
    assert found[1]["train.lr"] == found[2]["train.lr"]
    project.nothing_goes_on("tune-search-1")


def test_a_study_whose_journal_was_cut_off_goes_on(toy: Toy, tmp_path: Path) -> None:
    search = Search("search", [Axis("train.lr", 0.1, 0.9)], {}, "val_accuracy", 0, toy.path)
    journal = tmp_path / "search.journal"
    for cut in (b'{"op_code": 4, "worker_id": "a', b"{", b""):
        study = open_study(search, str(journal), prune=False, epochs=2)
        study.tell(study.ask(), 0.5)
        with journal.open("ab") as file:
            file.write(cut)
    assert len(open_study(search, str(journal), prune=False, epochs=2).trials) == 3


@pytest.mark.slow
def test_two_workers_share_a_study_and_poor_trials_are_stopped_early(
    toy: Toy, tmp_path: Path
) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    search = Search(
        "search", [Axis("train.lr", 0.01, 1.0, log=True)], {}, "val_accuracy", 0, project.path
    )
    storage = f"sqlite:///{project.path}/.run/study.db"
    (project.path / ".run").mkdir(exist_ok=True)
    study = open_study(search, storage, prune=True, epochs=4)
    for _ in range(5):  # a past of good trials
        past = study.ask()
        past.suggest_float("train.lr", 0.01, 1.0, log=True)
        for epoch in range(1, 5):
            past.report(2.0, epoch)
        study.tell(past, 2.0)
    arguments = ["-S", "train.lr=log(0.01,1.0)", "-S", "train.epochs=4"]
    arguments += ["--storage", storage, "--trials", "9"]
    processes = [project.start("tune", *arguments, seconds=1.0) for _ in range(2)]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    states = [trial.state.name for trial in study.get_trials()]
    assert states.count("PRUNED") == 4
    workers = {str(trial.user_attrs.get("process")) for trial in study.get_trials()}
    assert len(workers) == 3  # none, of the past, and two
