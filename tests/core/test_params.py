"""params.yaml: what a user may write, and the sentence for everything else."""

import copy
import functools
import math
import operator
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt, Interval
from dvc.utils.serialize import loads_yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAMLError

from classifier.augment.augmenter import AugmentParams
from classifier.core.errors import UserError, suggestion
from classifier.core.params import flatten, load, read, read_text
from classifier.core.parse import RENAMED, parse
from classifier.metrics.scoring import EvaluateParams
from classifier.models.registry import ModelParams
from classifier.preprocessing.prepare import PreprocessParams
from classifier.report.page import PlotParams
from classifier.sources.download import DownloadParams
from classifier.splits.assign import SplitParams
from classifier.training.params import TrainParams
from tools import ROOT


@dataclass(frozen=True)
class Inner:
    filters: tuple[int, ...] = (8, 16)
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    bound: float = 0.0


@dataclass(frozen=True)
class Section:
    lr: Annotated[float, Gt(0)]
    epochs: int
    optimizer: Literal["adam", "sgd"]
    clip: Annotated[float, Gt(0)] | None = None
    size: Literal["auto"] | Annotated[int, Gt(0)] = "auto"
    verbose: bool = False
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.epochs > 1000:
            raise ValueError("epochs above 1000 never end")


GOOD = {"lr": 0.1, "epochs": 3, "optimizer": "adam"}


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", ["5e-4", "5E-4", "0.0005", "5.0e-4", ".5e-3", "+5e-4"])
def test_scientific_notation_is_a_number(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, f"train: {{lr: {text}, epochs: 1, optimizer: sgd}}")
    assert load("train", Section, path).lr == pytest.approx(5e-4)


AWKWARD = """
010 08 0o17 -0o17 0x1F -0x1f 0b11 1_000 1__ +_1 00 -010 0777 0888 1:30 1:30.5 5e-4 5E4 .5e-3 1. 1e3
12e03 +5e-4 +.5 -.5e3 .5e3 .e3 ._5 0.1_0 .inf -.inf .nan NaN inf on off yes no y n True TRUE tRue
False null Null NULL nULL ~ 2020-01-01 2001-12-14 = 1,5 0b 0o8 0x 1e 1e+ "010" 'on'
"""


@pytest.mark.parametrize("text", [*AWKWARD.split(), "!!str 3", ""])
def test_a_scalar_is_what_dvc_reads(tmp_path: Path, text: str) -> None:
    same_as_dvc(text)


@given(st.text("0123456789_.eE+-xobnaif:tTruy~ ", min_size=1, max_size=6))
@settings(max_examples=500, deadline=None)
def test_any_scalar_is_what_dvc_reads(text: str) -> None:
    same_as_dvc(text)


def same_as_dvc(text: str) -> None:
    """Where DVC cannot read a value, the pipeline may not either, and a text stays the same."""
    try:
        expected = loads_yaml(f"x: {text}")
    except (YAMLError, ValueError):
        return
    found = read_text(f"x: {text}", "params.yaml")
    assert repr(found) == repr(expected)


def test_whole_numbers_serve_as_numbers_and_lists_become_tuples() -> None:
    section = parse(Section, {**GOOD, "lr": 1, "inner": {"filters": [4, 5]}}, "train")
    assert section.lr == 1.0
    assert isinstance(section.lr, float)
    assert section.inner.filters == (4, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning": 1}, ["train.learning"]),
        ({"optimiser": "sgd"}, ["train.optimiser", "did you mean 'optimizer'"]),
        ({"optimizer": "adma"}, ["train.optimizer", "'adma'", "adam or sgd", "did you mean adam"]),
        ({"lr": "high"}, ["train.lr", "'high'", "a number"]),
        ({"lr": 0}, ["train.lr", "0", "> 0"]),
        ({"lr": float("nan")}, ["train.lr", "nan"]),
        ({"epochs": 1.5}, ["train.epochs", "1.5", "whole number"]),
        ({"epochs": True}, ["train.epochs", "True", "whole number"]),
        ({"epochs": 2000}, ["train", "never end"]),
        ({"verbose": "yes"}, ["train.verbose", "true or false"]),
        ({"clip": -1}, ["train.clip", "-1", "> 0"]),
        ({"clip": "x"}, ["train.clip", "null"]),
        ({"size": 0}, ["train.size", "> 0"]),
        ({"size": "big"}, ["train.size", "auto", "whole number"]),
        ({"inner": {"filters": 3}}, ["train.inner.filters", "a list"]),
        ({"inner": {"filters": [3, "a"]}}, ["train.inner.filters[1]", "whole number"]),
        ({"inner": {"dropout": 1}}, ["train.inner.dropout", "< 1"]),
        ({"inner": {"dropuot": 0.1}}, ["train.inner.dropuot", "did you mean 'dropout'"]),
        ({"inner": 3}, ["train.inner", "mapping"]),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(
    change: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        parse(Section, {**GOOD, **change}, "train")
    for word in words:
        assert word in str(caught.value)


def test_a_key_of_an_earlier_version_is_answered_with_its_name() -> None:
    classes = {"model": ModelParams, "plot": PlotParams, "train": TrainParams}
    for old, new in RENAMED.items():
        section, _, key = old.partition(".")
        with pytest.raises(UserError) as caught:
            parse(classes[section], {**read()[section], key: 1}, section)
        assert str(caught.value) == f"{old} is now called {new}: rename it."
        assert new in flatten(read())


def test_a_number_is_finite() -> None:
    with pytest.raises(UserError, match=r"train\.inner\.bound is inf: give a number"):
        parse(Section, {**GOOD, "inner": {"bound": float("inf")}}, "train")


@pytest.mark.parametrize("known", [["epochs", "lr"], ["epochs", *map(str, range(30))], ["lr"]])
def test_a_sentence_with_a_suggestion_ends_with_one_full_stop(known: list[str]) -> None:
    sentence = f"train.epoch is not a parameter{suggestion('epoch', known)}."
    assert sentence.endswith(").")
    assert ("did you mean 'epochs'?" in sentence) == ("epochs" in known)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(UserError, match=r"train\.epochs is missing.*whole number"):
        parse(Section, {"lr": 1, "optimizer": "adam"}, "train")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: {lr: 1", "not valid YAML"),
        ("- 1", "mapping of sections"),
        ("split: {}", "no section 'train'"),
        ("train: {lr: 1, lr: 2}", "'lr' stands twice"),
        ("train: 3", "train must be a mapping"),
        ("train:", "section 'train' is empty"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load("train", Section, write(tmp_path, text))


def test_a_section_whose_keys_all_have_defaults_is_not_left_empty_by_mistake(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match="'augment' is empty"):
        load("augment", AugmentParams, write(tmp_path, "augment:\n  # rotate: 10\n"))
    assert load("augment", AugmentParams, write(tmp_path, "augment: {}")) == AugmentParams()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml is missing"):
        load("train", Section, tmp_path / "none.yaml")


_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
_MERGES = "m0: &m0 {a: 1}\n" + "".join(
    f"m{n}: &m{n}\n  <<: [{', '.join([f'*m{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_BOMB + "train: {lr: *a8}\n", "its aliases stand for more than 10,000 values"),
        (_MERGES, "its aliases stand for more than 10,000 values"),
        ("train: &t\n  lr: *t\n", r"\*t stands within the value that it names"),
        ("x: " + "[" * 3000 + "]" * 3000, "nested more than 50 deep"),
        ("x: " + "{a: " * 3000 + "}" * 3000, "nested more than 50 deep"),
        ("x:\n" + "- " * 3000 + "1", "maximum recursion depth"),
        ("x: " + "y" * 2_000_000, "more than 1,048,576 characters"),
        ("train: {}\n".encode("utf-16"), "is not UTF-8 text"),
        (b"# caf\xe9\n", r"is not UTF-8 text \(byte 6\)"),
        (bytes(range(256)), "is not UTF-8 text"),
        ("train: {lr: 0x" + "f" * 10_000 + "}", "train holds a number of thousands of digits"),
        ("train: {lr: " + "9" * 5_000 + "}", "is not valid YAML"),
        ("train:\n  ? [a, b]\n  : 1\n", "a list or a mapping stands for a key"),
        ("train:\n  ? {a: 1}\n  : 2\n", "is not valid YAML"),
        ("train: {" + "k" * 1_000 + ": 1}", "is not a parameter"),
        ('train: {"\\e[31m\\nerror": 1}', r"train\.\\x1b\[31m\\nerror is not a parameter"),
        ("train: {lr: [" + "1, " * 9_000 + "]}", "train.lr is "),
        ("train: {lr: .nan, epochs: 1, optimizer: sgd}", "train.lr is nan: give a number > 0"),
    ],
)
def test_hostile_yaml_gets_one_short_sentence(
    tmp_path: Path, content: str | bytes, reason: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    begun = time.process_time()
    with pytest.raises(UserError, match=reason) as raised:
        load("train", Section, path)
    assert time.process_time() - begun < 1
    assert len(str(raised.value)) < 900
    assert str(raised.value).isprintable()


def test_aliases_within_reason_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "base: &b {epochs: 3, optimizer: sgd}\ntrain:\n  <<: *b\n  lr: 0.1\n")
    assert load("train", Section, path) == Section(lr=0.1, epochs=3, optimizer="sgd")


@pytest.mark.parametrize(
    ("section", "cls"),
    [
        ("download", DownloadParams), ("split", SplitParams), ("preprocess", PreprocessParams),
        ("augment", AugmentParams), ("model", ModelParams), ("train", TrainParams),
        ("evaluate", EvaluateParams), ("plot", PlotParams),
    ],
)  # fmt: skip
def test_any_value_of_any_key_is_taken_or_refused_in_one_sentence(section: str, cls: Any) -> None:
    content = read(ROOT / "params.yaml")[section]
    hostile = [
        "", -1, 10**30, 10**4000, math.inf, math.nan, True, None, [], [1, "a"], {}, {"a": 1}, 1e308,
        "\u202e\n\x1b[2J", [[]] * 9_000, {1: {2: 3}}, "x" * 100_000,
    ]  # fmt: skip
    tried = 0
    sentences = []
    for path in flatten(content):
        for value in hostile:
            changed = copy.deepcopy(content)
            *above, last = path.split(".")
            functools.reduce(operator.getitem, above, changed)[last] = value
            tried += 1
            try:
                parse(cls, changed, section)
            except UserError as error:
                sentences.append(str(error))
    assert len(sentences) > tried / 2
    assert all(sentence.isprintable() and len(sentence) < 1000 for sentence in sentences)


@pytest.mark.parametrize(
    ("cls", "content", "sentence"),
    [
        (PreprocessParams, {"workers": 10**6}, "preprocess.workers is 1000000: give a whole"),
        (AugmentParams, {"rand_operations": 10**6}, "augment.rand_operations is 1000000: give"),
        (TrainParams, {"epochs": 10**9}, "train.epochs is 1000000000: give"),
        (TrainParams, {"processes": 10**6}, "train.processes is 1000000: give"),
        (EvaluateParams, {"bootstrap_samples": 10**9}, "evaluate.bootstrap_samples is 1000000000"),
    ],
)
def test_numbers_that_would_take_forever_are_refused(
    cls: Any, content: dict[str, int], sentence: str
) -> None:
    section = sentence.partition(".")[0]
    with pytest.raises(UserError, match=sentence):
        parse(cls, read(ROOT / "params.yaml")[section] | content, section)
