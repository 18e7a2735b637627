"""Comparisons of revisions: what they read, what they conclude, what they refuse."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest

from classifier.core.errors import UserError
from classifier.experiments.compare import compare, holm, mcnemar
from classifier.experiments.revisions import Predictions, queue_states, resolve
from classifier.metrics.outcomes import Outcomes
from classifier.metrics.scoring import EvaluateParams, score
from classifier.metrics.selective import area
from tests.support import toy_project
from tests.support.toy_project import Toy, wait_for
from tests.support.workspace import Workspace

PARAMS = EvaluateParams(batch_size=64, top_k=2, seed=0, bootstrap_samples=300)


def made_up(name: str, quality: float, seed: int, images: int = 500) -> Predictions:
    labels = np.random.default_rng(0).integers(0, 3, images)
    noise = np.random.default_rng(seed).normal(size=(images, 3))
    logits = (4 * quality * np.eye(3)[labels] + 1.5 * noise).astype(np.float32)
    ids = np.array([f"i{n}" for n in range(images)])
    return Predictions(name, {}, "test", ("a", "b", "c"), ids, labels, logits)


def test_mcnemar_is_the_sign_test_of_disagreements() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(3, 12) == pytest.approx(binomtest(3, 15).pvalue)
    assert mcnemar(12, 3) == mcnemar(3, 12)
    # Fagerland et al. 2013, table 1: 1 against 7 disagreements, exact p 0.0703.
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)
    # mid-p: half of the probability of what was seen does not count
    many = binomtest(40, 100).pvalue
    assert 0.8 * many < mcnemar(40, 60) < many
    assert mcnemar(50, 50) <= 1


def test_mcnemar_keeps_its_level() -> None:
    generator = np.random.default_rng(1)
    low = [mcnemar(k := int(generator.binomial(80, 0.5)), 80 - k) < 0.05 for _ in range(4000)]
    assert 0.035 < np.mean(low) <= 0.055


def test_holm_corrects_in_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_clear_gain_is_better_and_its_mirror_worse() -> None:
    base, other = made_up("base", 0.4, 1), made_up("other", 0.6, 2)
    (there,) = compare([base, other], PARAMS)
    (back,) = compare([other, base], PARAMS)
    assert (there.verdict, back.verdict) == ("better", "worse")
    assert there.fixed == back.broken
    assert there.p == back.p
    accuracy = there.metrics["accuracy"]
    assert 0 < accuracy.low < accuracy.change < accuracy.high
    assert accuracy.change == pytest.approx((len(there.fixed) - len(there.broken)) / 500)
    assert there.metrics["loss"].high < 0


def test_figures_are_those_of_evaluate() -> None:
    base, other = made_up("base", 0.4, 1), made_up("other", 0.6, 2)
    (found,) = compare([base, other], PARAMS)
    scores = score(Outcomes(other.logits, other.labels), PARAMS)
    assert {"accuracy", "loss", "f1_macro", "top2_accuracy", "ece", "roc_auc"} <= set(found.metrics)
    for name, figure in found.metrics.items():
        assert figure.other == pytest.approx(scores.values[name])


def test_risk_over_coverage_is_that_of_calibrated_answers() -> None:
    base, other = made_up("base", 0.4, 1), made_up("other", 0.6, 2)
    warm = [dataclasses.replace(part, temperature=3.0) for part in (base, other)]
    (found,) = compare(warm, PARAMS)
    for figure, part in ((found.metrics["aurc"].base, base), (found.metrics["aurc"].other, other)):
        outcomes = Outcomes(part.logits, part.labels, 3.0)
        expected = area(outcomes.calibrated_confidence, outcomes.right, np.ones((500, 1)))[0]
        assert figure == pytest.approx(expected)
        plain = Outcomes(part.logits, part.labels)
        assert figure != area(plain.confidence, plain.right, np.ones((500, 1)))[0]
    assert found.metrics["aurc"].high < 0  # lower is better
    assert "ece_calibrated" in found.metrics
    (mixed,) = compare([warm[0], other], PARAMS)  # one that is not known: neither is calibrated
    assert "ece_calibrated" not in mixed.metrics


def test_equal_models_give_no_evidence() -> None:
    same = made_up("base", 0.5, 1)
    (found,) = compare([same, made_up("twin", 0.5, 1)], PARAMS)
    assert found.verdict == "no evidence"
    assert (found.p, found.fixed, found.broken) == (1.0, (), ())
    assert all(d.low == d.high == 0 for d in found.metrics.values())


def test_pairing_makes_the_interval_narrower_than_two_intervals_apart() -> None:
    labels = made_up("x", 0.5, 1).labels
    base = made_up("base", 0.5, 1)
    logits = base.logits.copy()
    logits[:10] = 9 * np.eye(3)[labels[:10]]  # the same model, but for ten images
    other = dataclasses.replace(base, name="other", logits=logits)
    (found,) = compare([base, other], PARAMS)
    low, high = score(Outcomes(base.logits, labels), PARAMS).bounds["accuracy"]
    accuracy = found.metrics["accuracy"]
    assert accuracy.high - accuracy.low < (high - low) / 2


def test_many_equal_models_rarely_look_different() -> None:
    models = [made_up(str(seed), 0.5, seed) for seed in range(1, 9)]
    found = compare(models, PARAMS)
    assert {item.verdict for item in found} == {"no evidence"}
    assert all(item.corrected >= item.p for item in found)


def test_different_test_sets_are_refused() -> None:
    base = made_up("base", 0.5, 1)
    with pytest.raises(UserError, match="different test sets"):
        compare([base, made_up("other", 0.5, 1, images=400)], PARAMS)
    relabelled = made_up("other", 0.5, 1)
    relabelled.labels[:3] = (relabelled.labels[:3] + 1) % 3
    with pytest.raises(UserError, match="different labels for 3"):
        compare([base, relabelled], PARAMS)


@pytest.fixture(scope="module")
def project(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Two experiments, one queued and one failed, besides the branch main."""
    project = toy_project.copy(toy, tmp_path_factory.mktemp("compare") / "project")
    project.experiment("good", "train.lr=0.9")
    project.experiment("other-data", "split.seed=5")
    project.run("git", "checkout", "--quiet", "--force", "main")
    project.dvc("checkout", "--quiet")
    project.dvc("exp", "run", "--queue", "-n", "waiting", "-S", "train.lr=0.3")
    return project


def test_a_section_is_what_its_own_stage_recorded(tmp_path: Path) -> None:
    """plot records the whole file; it may have run before the others, with other values."""
    lock = {
        "plot": {"params": {"params.yaml": {"train": {"lr": 0.1, "old": 1}, "plot": {"rows": 5}}}},
        "split": {"params": {"params.yaml": {"split.seed": 3}}},
        "train": {"params": {"params.yaml": {"train": {"lr": 0.5}, "model": {"name": "cnn"}}}},
    }
    for order in (list(lock), list(reversed(lock))):
        stages = {"stages": {name: lock[name] for name in order}}
        (tmp_path / "dvc.lock").write_text(yaml.safe_dump(stages, sort_keys=False))
        assert resolve("workspace", tmp_path).params == {
            "model.name": "cnn", "plot.rows": 5, "split.seed": 3, "train.lr": 0.5
        }  # fmt: skip


def test_what_cannot_be_read_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text("stages: {train: {params: ", encoding="utf-8")
    workspace = resolve("workspace", tmp_path)
    with pytest.raises(UserError, match=r"^dvc\.lock of workspace is not valid YAML: "):
        _ = workspace.params
    with pytest.raises(UserError) as caught:
        workspace.json("metrics/train.json")
    assert str(caught.value) == (
        f"{tmp_path} is no DVC project: run from the project's top folder."
    )


def test_revisions_are_read_without_running_anything(project: Toy) -> None:
    before = project.run("git", "status", "--porcelain").stdout
    printed = project.classifier("compare", "main", "good")
    assert printed.startswith("good against main: better")
    assert "train.lr" in printed
    assert "400 test images" in printed
    assert project.run("git", "status", "--porcelain").stdout == before

    item = json.loads(project.classifier("compare", "main", "good", "workspace", "--json"))[0]
    assert item["params"] == {"train.lr": [0.5, 0.9]}
    assert item["metrics"]["accuracy"]["other"] > 0.8
    assert len(item["fixed"]) > len(item["broken"])
    own = json.loads(project.read("metrics/evaluate.json"))["test_accuracy"]
    assert item["metrics"]["accuracy"]["base"] == pytest.approx(own)

    several = project.classifier("compare", "main", "good", "workspace", "--md")
    assert several.startswith("|")
    assert "## workspace against main: no evidence" in several
    assert "No parameter differs." in several


def test_the_workspace_is_the_default_and_another_clone_can_be_named(
    project: Toy, tmp_path: Path
) -> None:
    assert "workspace against HEAD: no evidence" in project.classifier("compare")
    clone = toy_project.copy(project, tmp_path / "clone")
    clone.set(train__lr=0.9)
    clone.dvc("repro", "--quiet")
    printed = project.classifier("compare", "workspace", str(clone.path))
    assert f"{clone.path} against workspace: better" in printed


def test_mistakes_get_one_sentence(project: Toy, tmp_path: Path) -> None:
    assert "no revision or experiment 'goood' (did you mean 'good'?" in project.refused(
        "compare", "main", "goood"
    )
    assert "'waiting' is not yet run (queued): run dvc queue start" in project.refused(
        "compare", "main", "waiting"
    )
    assert "different test sets (400 and 400 images, 0 in both)" in project.refused(
        "compare", "main", "other-data"
    )
    assert "named twice" in project.refused("compare", "main", "main")

    project.run("git", "branch", "never", "main")
    project.run("git", "tag", "marked", "main")
    clone = toy_project.copy(project, tmp_path / "clone")
    clone.run("git", "rm", "--quiet", "dvc.lock")
    clone.commit("Unrun")
    clone.run("git", "clean", "-fdxq", "data", "models")
    assert clone.refused("compare", "never", "workspace") == (
        "workspace is not yet run (it has no data/predictions/test_logits.npy): run dvc repro."
    )
    assert clone.refused("compare", "never", "main").endswith("check it out and run dvc repro.")
    digest = resolve("good", clone.path).path("data/predictions/test_logits.npy")
    digest.chmod(0o644)
    digest.unlink()
    lacking = "data/predictions/test_logits.npy of good is missing from the cache"
    assert clone.refused("compare", "never", "good") == (
        f"{lacking}, and there is no DVC remote to bring it from: check it out and run dvc repro."
    )
    clone.dvc("remote", "add", "--quiet", "--default", "shared", str(tmp_path / "remote"))
    assert clone.refused("compare", "never", "good") == (
        f"{lacking}: run dvc exp pull origin good; what was made before the remote was added is"
        " not there, so run it again."
    )
    (clone.path / ".dvc/cache/files/md5").rename(tmp_path / "gone")
    for name, advice in (
        ("marked", "run dvc fetch --all-tags data/predictions."),
        ("never", "run dvc fetch --all-branches data/predictions."),
    ):
        assert clone.refused("compare", name, "good").endswith(advice)


def test_nothing_is_fetched_from_the_remote_unless_asked(project: Toy, tmp_path: Path) -> None:
    clone = toy_project.copy(project, tmp_path / "clone")
    clone.run("git", "tag", "before", "main")  # whose own settings know no remote
    clone.dvc("remote", "add", "--quiet", "--default", "shared", str(tmp_path / "remote"))
    clone.commit("A remote")
    clone.dvc("push", "--quiet")
    there = clone.classifier("compare", "before", "workspace")
    shutil.rmtree(clone.path / ".dvc/cache")
    for name, option in (("main", "--all-branches"), ("before", "--all-tags")):
        assert clone.refused("compare", name, "workspace") == (
            f"data/predictions/test_logits.npy of {name} is missing from the cache: "
            f"run dvc fetch {option} data/predictions."
        )
    assert clone.classifier("compare", "before", "workspace", "--pull") == there
    shutil.rmtree(tmp_path / "remote")
    assert "is missing from the cache" in clone.refused("compare", "main", "workspace", "--pull")


def test_a_cache_that_was_moved_is_found_for_older_revisions(project: Toy, tmp_path: Path) -> None:
    clone = toy_project.copy(project, tmp_path / "clone")
    (clone.path / ".dvc/cache").rename(tmp_path / "cache")
    clone.dvc("cache", "dir", "--quiet", str(tmp_path / "cache"))
    assert resolve("good", clone.path).json("data/prepared/meta.json")["counts"]["test"] == 400


def test_a_project_in_a_folder_of_a_repository_is_read(project: Toy, tmp_path: Path) -> None:
    toy_project.copy(project, tmp_path / "sub")
    shutil.rmtree(tmp_path / "sub/.git")
    above = Workspace(tmp_path)
    above.run("git", "init", "--quiet", "--initial-branch=main")
    above.commit("Start")
    revision = resolve("main", tmp_path / "sub")
    assert revision.params["train.lr"] == 0.5
    assert revision.path("data/predictions/test_logits.npy").is_relative_to(tmp_path / "sub")
    with pytest.raises(UserError, match=r"^main is not yet run \(it has no metrics/none.json\)"):
        revision.json("metrics/none.json")


def test_a_name_that_was_used_again_means_the_experiment_on_head(
    project: Toy, tmp_path: Path
) -> None:
    clone = toy_project.copy(project, tmp_path / "clone")
    clone.run("git", "tag", "--annotate", "model@v1.0.0", "--message", "First")
    clone.set(train__seed=1)
    clone.commit("Another seed")
    clone.experiment("good", "train.lr=0.8")
    clone.run("git", "checkout", "--quiet", "--force", "main")
    assert resolve("good", clone.path).params["train.lr"] == 0.8
    assert resolve("model@v1.0.0", clone.path).params["train.seed"] == 0
    assert resolve("HEAD~1", clone.path).params["train.seed"] == 0
    clone.commit("One more")
    assert clone.refused("compare", "good").startswith("2 experiments are named 'good': give a ")


@pytest.mark.parametrize("name", ["", "--help", "-S", "main:params.yaml", "a b", "refs/exps", "é"])
def test_what_names_no_revision_is_refused(project: Toy, name: str) -> None:
    with pytest.raises(UserError, match=r"^there is no revision or experiment "):
        resolve(name, project.path)


@pytest.mark.slow
def test_an_experiment_that_failed_in_the_queue_is_named(toy: Toy, tmp_path: Path) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    project.dvc("exp", "run", "--queue", "-n", "a", "-S", "train.lr=2000")
    project.dvc("queue", "start")
    wait_for(lambda: queue_states(project.path) == {"a": "failed"})
    assert project.refused("compare", "main", "a") == (
        "experiment 'a' is not yet run (failed): see dvc queue logs a."
    )


@pytest.mark.parametrize("content", [b"", b"half", bytes(range(256))])
def test_damaged_results_are_one_sentence(toy: Toy, tmp_path: Path, content: bytes) -> None:
    project = toy_project.copy(toy, tmp_path / "project")
    (project.path / "data/predictions/test_logits.npy").write_bytes(content)
    said = project.refused("compare", "main", "workspace")
    assert said.startswith("data/predictions/test_logits.npy of workspace is damaged (")
    assert said.endswith("remove data/predictions/test_logits.npy and run dvc repro.")
