"""Recipes and overrides: checked as the stages would, then run by DVC as experiments."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from classifier.core.errors import UserError
from classifier.core.params import read
from classifier.experiments.overrides import SECTIONS, check, combinations, flags, parse_overrides
from classifier.experiments.recipes import load_recipe, recipe_names
from tests.support import toy_project
from tests.support.toy_project import Toy
from tools import ROOT

LADDER = ["ladder-1-baseline", "ladder-2-batchnorm", "ladder-3-dropout", "ladder-4-augment"]


def test_every_section_has_its_dataclass() -> None:
    assert set(SECTIONS) == set(read(ROOT / "params.yaml"))


@pytest.mark.parametrize("name", recipe_names(ROOT / "recipes"))
def test_recipes_hold_nothing_that_a_stage_would_refuse(name: str) -> None:
    recipe = load_recipe(name, ROOT / "recipes")
    assert check(recipe.changes, ROOT)


@pytest.mark.parametrize("change", ["train.lr=0.0123", "train.patience=3", "train.seed=0"])
def test_dvc_writes_params_yaml_as_it_is_but_for_the_values(change: str, tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    copy = tmp_path / "params.yaml"
    copy.write_text(before, encoding="utf-8")
    apply_overrides(copy, [change])
    after = copy.read_text(encoding="utf-8")
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    assert len([1 for old, new in pairs if old != new]) == (change != "train.seed=0")


@pytest.mark.parametrize("name", recipe_names(ROOT / "recipes"))
def test_a_recipe_changes_the_lines_of_its_values_alone(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    copy.write_text(before, encoding="utf-8")
    changes = load_recipe(name, ROOT / "recipes").changes
    apply_overrides(copy, [text for text in flags(changes) if text != "-S"])
    lines = set(copy.read_text(encoding="utf-8").splitlines()) - set(before.splitlines())
    values = sum(len(value) if isinstance(value, list) else 1 for value in changes.values())
    assert len(lines) <= values


def test_each_step_of_the_ladder_changes_one_thing() -> None:
    steps = [load_recipe(name, ROOT / "recipes").changes for name in LADDER]
    changed = [
        {key for key in after if after[key] != before[key]} for before, after in pairwise(steps)
    ]
    assert changed == [
        {"model.cnn.batch_norm"},
        {"model.cnn.dropout"},
        {"augment.horizontal_flip", "augment.shift"},
    ]


def test_values_are_read_like_params_yaml() -> None:
    changes = parse_overrides(
        ["train.lr=5e-4", "train.patience=null", "model.cnn.filters=[8, 16]", "download.path=a b"]
    )
    assert changes == {
        "train.lr": 5e-4,
        "train.patience": None,
        "model.cnn.filters": [8, 16],
        "download.path": "a b",
    }


VALUES = (
    5, -0.5, 1e-5, True, None, "5", "null", "", "a b", "it's", 'say "x"', "a,b", "c:\\new\\",
    "~/ü#1", "a=b", "{x}", "[1]", "5 minutes", [1, "x, y", [True, None]], {"a": "x y"},
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_dvc_reads_a_value_as_it_was_meant(value: object, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: {b: 0}\n", encoding="utf-8")
    (override,) = flags({"a.b": value})[1::2]
    apply_overrides(path, [override])
    assert read(path) == {"a": {"b": value}}
    assert parse_overrides([override]) == {"a.b": value}


def test_a_sweep_is_a_grid() -> None:
    texts = ["train.seed=1,2", "train.lr=choice(0.1,0.2)", "a.b=[1,2]", "a.c=range(1,4)"]
    changes = parse_overrides([*texts, "+a.d=choice(1)"], sweeps=True)
    assert len(list(combinations(changes))) == 12
    assert flags(changes) == [
        "-S", "++train.seed=1,2", "-S", "++train.lr=0.1,0.2", "-S", "++a.b=[1,2]",
        "-S", "++a.c=1,2,3", "-S", "++a.d=1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["train.lr"], "give section.key=value"),
        (["lr=1"], "give section.key=value"),
        (["~train.lr"], "give section.key=value"),
        (["train@lr=1"], "give section.key=value"),
        (["train.lr=1", "+train.lr=1"], "given twice"),
        (["train.lr=0.1,0.2"], "has 2 values: .*recipe --queue"),
        (["train.lr=range(1,4)"], "has 3 values"),
        (["train.lr=range(4,1)"], "holds no value"),
        (["train.lr=interval(1,4)"], "only tune searches an interval"),
        (["train.lr=[interval(1,4)]"], "quote a value"),
        (["train.lr=choice(1,2),3"], "give choice"),
        (["train.lr=choice(1"], "give choice"),
        (["train.lr=range(1,4,0)"], "give choice"),
        (["train.lr=[1"], "quote a value"),
        (["download.path=~/ü"], "quote a value .* -S \"download.path='…'\""),
    ],
)
def test_a_wrong_override_is_refused(texts: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        parse_overrides(texts)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trains.lr": 1}, "trains is not a section.*did you mean 'train'"),
        ({"train.learning": 1}, r"train\.learning is not a parameter"),
        ({"train.lr": "fast"}, r"train\.lr is 'fast': give a number"),
        ({"split.test_fraction": 2.0}, r"split\.test_fraction is 2"),
        ({"model.cnn.dropuot": 0.1}, r"model\.cnn\.dropuot.*did you mean 'dropout'"),
        ({"train.lr.cat": 1}, r"train\.lr is \{'cat': 1\}: give a number"),
        ({"model.fast.widths": []}, r"widths is \[\]: give a list of 1 to 64, each a whole"),
    ],
)
def test_unknown_keys_and_values_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check({"model.name": "cnn", **changes}, ROOT)


def test_weights_by_name_are_one_value(tmp_path: Path) -> None:
    """Their keys are no parameters: names of classes may hold dots and blanks."""
    text = "description: A.\ntrain: {class_weights: {red car: 1, b.c: 2}}"
    (tmp_path / "named.yaml").write_text(text, encoding="utf-8")
    changes = load_recipe("named", tmp_path).changes
    assert changes == {"train.class_weights": {"red car": 1, "b.c": 2}}
    assert check(changes, ROOT)["train"].class_weights == {"red car": 1, "b.c": 2}
    assert parse_overrides(flags(changes)[1:]) == changes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {lr: 0.1}", "no description"),
        ("description: Nothing.", "changes nothing"),
        ("description: A.\ntrain: 5", "train must be a mapping"),
    ],
)
def test_a_recipe_that_is_no_overlay_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        load_recipe("mine", tmp_path)
    with pytest.raises(UserError, match=r"no recipe 'mien' .*did you mean 'mine'"):
        load_recipe("mien", tmp_path)


def test_a_recipe_runs_as_an_experiment(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    (project.path / "recipes").mkdir()
    text = "description: Higher\n  rate.\ntrain:\n  lr: 0.8\n  class_weights: [1, 2, 1]\n"
    (project.path / "recipes" / "fast.yaml").write_text(text, encoding="utf-8")
    assert project.classifier("recipe", "--list") == "fast  Higher rate.\n"

    printed = project.classifier("recipe", "fast", "-S", "train.seed=7", "--check")
    assert printed.startswith("dvc exp run -n fast -S ++train.lr=0.8 ")
    project.classifier("recipe", "fast", "-S", "train.seed=7")
    params = yaml.safe_load(project.read("params.yaml"))["train"]
    assert params["lr"] == 0.8
    assert params["seed"] == 7
    assert params["class_weights"] == [1, 2, 1]
    assert "fast" in project.dvc("exp", "list", "--names-only").stdout.split()

    assert "already" in project.refused("recipe", "fast")
    assert "train.lrr is not a parameter" in project.refused("recipe", "fast", "-S", "train.lrr=1")
    assert "no recipe 'fats'" in project.refused("recipe", "fats")

    project.classifier(
        "recipe",
        "fast",
        "--queue",
        "-n",
        "seeds",
        "-S",
        "train.seed=1,2",
        "-S",
        "train.optimizer=sgd",
    )
    queued = project.dvc("queue", "status").stdout
    assert queued.count("Queued") == 2
    assert "seeds-1" in queued


# Of a frozen backbone with a fitted head, most of train and augment does not count.
UNUSED = {
    "photos": ("model.fast.", "augment.", "train.(?!monitor|feature_views|progressive.first)"),
    "photos-finetune": ("model.fast.", "augment.padding", "train.momentum"),
    "photos-scratch": ("nothing",),
}


@pytest.mark.parametrize("second", UNUSED)
@pytest.mark.parametrize("first", UNUSED)
def test_a_recipe_for_photographs_leaves_nothing_of_another_one(first: str, second: str) -> None:
    """Each is applied to what the one before it left in params.yaml."""
    before, after = (load_recipe(name).changes for name in (first, second))
    left = before.keys() - after.keys()
    assert [key for key in left if not re.match("|".join(UNUSED[second]), key)] == []
