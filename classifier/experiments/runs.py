"""The experiments on a commit at a glance: what each changed, and whether that was better."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from classifier.core.errors import UserError
from classifier.core.git import git
from classifier.experiments.compare import differing, holm, judged, paired
from classifier.experiments.corrected import corrections, judged_alike
from classifier.experiments.revisions import (
    WORKSPACE,
    Revision,
    experiments_of,
    predictions,
    resolve,
    same_images,
)

METRICS = "metrics/evaluate.json"


@dataclass(frozen=True)
class Run:
    """An experiment, the workspace or the baseline.

    ``made`` is when it was, None for the workspace. ``params`` are the values that differ from the
    baseline's, None where a key is gone. ``metrics`` are those of METRICS, empty where it has not
    been run. ``verdict`` is on its test accuracy against the baseline's: better, worse, no
    evidence; or why there is none. ``p`` is McNemar's after Holm's correction.
    """

    name: str
    made: datetime | None
    params: Mapping[str, Any]
    metrics: Mapping[str, Any]
    verdict: str = ""
    p: float | None = None


def runs(baseline: str, confidence: float, root: Path = Path()) -> list[Run]:
    """The baseline, then what was made of it: the workspace, and experiments, the newest first.

    The workspace is left out where it is the baseline or an experiment.

    Args:
        baseline: a commit, branch or tag, whose experiments these are; or one of the experiments
            on HEAD, which the others are then judged against.
        confidence: of the verdicts; the number of comparisons is corrected for.

    Raises:
        UserError: there is no such revision.
    """
    base = resolve(baseline, root)
    commits = experiments_of(git(root, "rev-parse", "HEAD").strip(), root)
    commit = commits.pop(baseline, "")
    if not commit:
        commit = git(root, "rev-parse", f"{baseline}^{{commit}}").strip()
        commits = experiments_of(commit, root)
    made = _times([commit, *commits.values()], root)
    ours = _run(base, base, made[commit])
    revisions = {name: Revision(name, root, own) for name, own in commits.items()}
    found = [_run(revision, base, made[commits[name]]) for name, revision in revisions.items()]
    found.sort(key=lambda run: (str(run.made), run.name), reverse=True)
    workspace = _run(Revision(WORKSPACE, root), base, None)
    known = [(run.params, run.metrics) for run in (ours, *found)]
    if (workspace.params, workspace.metrics) not in known:
        revisions[WORKSPACE] = Revision(WORKSPACE, root)
        found.insert(0, workspace)
    return [replace(ours, verdict="baseline"), *_judged(found, revisions, base, confidence)]


def _times(commits: Sequence[str], root: Path) -> dict[str, datetime]:
    lines = git(root, "show", "--no-patch", "--format=%H %ct", *dict.fromkeys(commits)).split("\n")
    pairs = (line.split() for line in lines if line)
    return {commit: datetime.fromtimestamp(int(seconds), UTC) for commit, seconds in pairs}


def _run(revision: Revision, base: Revision, made: datetime | None) -> Run:
    params: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    with suppress(UserError):  # it was not run, or is from a time before these files
        params = {key: now for key, (_, now) in differing(base.params, revision.params).items()}
        metrics = revision.json(METRICS)
    return Run(revision.name, made, params, metrics)


def _judged(
    found: Sequence[Run], revisions: Mapping[str, Revision], base: Revision, confidence: float
) -> list[Run]:
    """The runs with their verdicts."""
    if not found:
        return []
    told: dict[str, str] = {}
    compared: dict[str, tuple[float, float]] = {}
    try:
        ours = predictions(base)
    except UserError:
        return [replace(run, verdict=f"{base.name} is not cached") for run in found]
    for run in found:
        revision = revisions[run.name]
        try:
            tables = [corrections(base), corrections(revision)]
            parts, _ = judged_alike([ours, predictions(revision)], tables)
        except UserError:
            told[run.name] = "not cached" if run.metrics else "not run"
            continue
        try:
            same_images(parts)
        except UserError:
            told[run.name] = "other images"
            continue
        before, after = (part.outcomes for part in parts)
        change = float(after.right.mean() - before.right.mean())
        compared[run.name] = change, paired(before, after)
    corrected = dict(zip(compared, holm([p for _, p in compared.values()]), strict=True))
    told |= {name: judged(compared[name][0], p, confidence) for name, p in corrected.items()}
    return [replace(run, verdict=told[run.name], p=corrected.get(run.name)) for run in found]
