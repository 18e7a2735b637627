"""What a Git revision, an experiment or the workspace holds, read without running anything.

Small files come from Git (``git show``), data from the DVC cache: dvc.lock names each output's
hash, and the hash is its place in the cache. Nothing is checked out and no other machine is asked.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from classifier.errors import UserError
from classifier.git import git_or_none
from classifier.params import Loader, flatten, suggestion

WORKSPACE = "workspace"


@dataclass(frozen=True)
class Revision:
    """One state of the project: ``name`` as the user gave it, ``commit`` None for the workspace.

    ``kind`` is "workspace", "experiment", "branch", "tag" or "commit".
    """

    name: str
    commit: str | None
    kind: str
    root: Path

    def text(self, path: str) -> str | None:
        """A file that Git keeps, or None when this revision has no such file."""
        if self.commit is None:
            file = self.root / path
            return file.read_text(encoding="utf-8") if file.is_file() else None
        return git_or_none(self.root, "show", f"{self.commit}:./{path}")

    def json(self, path: str) -> dict[str, Any]:
        """A JSON file that Git or DVC keeps, say metrics/evaluate.json.

        Raises:
            UserError: this revision does not have it, or it is missing from the cache.
        """
        text = self.text(path) or self.file(path).read_text(encoding="utf-8")
        return dict(json.loads(text))

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameters that its results were made with, by full key: {"train.lr": 0.001, …}.

        They are dvc.lock's, not params.yaml's: a file that was edited and not yet run counts for
        nothing. Each section is the one that the stage which computes with it has recorded: plot
        records the whole file, perhaps of another day.
        """
        stages = {**self._lock}
        sections: dict[str, Any] = {}
        for stage in (stages.pop("plot", {}), *stages.values()):
            for recorded in stage.get("params", {}).values():
                sections |= recorded
        return dict(sorted(flatten(sections).items()))

    def file(self, path: str) -> Path:
        """Where a file that DVC keeps lies on this machine: in the workspace or in the cache.

        Raises:
            UserError: the pipeline has not been run at this revision, or the cache lacks the file.
        """
        if self.commit is None and (self.root / path).is_file():
            return self.root / path
        for stage in self._lock.values():
            for out in stage.get("outs", ()):
                if path == out["path"] and not out["md5"].endswith(".dir"):
                    return self._cached(out["md5"], path)
                if path.startswith(out["path"] + "/"):
                    listing = json.loads(self._cached(out["md5"], path).read_text("utf-8"))
                    inside = path.removeprefix(out["path"] + "/")
                    for entry in listing:
                        if entry["relpath"] == inside:
                            return self._cached(entry["md5"], path)
                    raise UserError(f"{self.name} has no {path}: run it with this version.")
        raise self._not_run(path)

    @cached_property
    def _lock(self) -> dict[str, Any]:
        text = self.text("dvc.lock")
        return yaml.load(text, Loader=Loader)["stages"] if text else {}  # a SafeLoader

    def _cached(self, digest: str, path: str) -> Path:
        file = _cache(self.root) / digest[:2] / digest[2:]
        if file.is_file():
            return file
        raise UserError(f"{path} of {self.name} is missing from the cache: run {self._pull(path)}.")

    def _pull(self, path: str) -> str:
        if self.kind == "experiment":
            return f"dvc exp pull origin {self.name}"
        flag = {"branch": "--all-branches ", "tag": "--all-tags ", "commit": "--all-commits "}
        return f"dvc fetch {flag.get(self.kind, '')}{path.rsplit('/', 1)[0]}"

    def _not_run(self, path: str) -> UserError:
        run = "run dvc repro" if self.commit is None else "check it out and run dvc repro"
        return UserError(f"{self.name} is not yet run (it has no {path}): {run}.")


@dataclass(frozen=True)
class Predictions:
    """What a revision's model said of one split.

    ``logits`` is float32 [N, K], ``labels`` int64 [N] indices into ``classes``, ids in row order.
    """

    revision: Revision
    split: str
    classes: tuple[str, ...]
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]


def predictions(revision: Revision, split: str = "test") -> Predictions:
    """Read the saved logits of "test" or "val" with the labels they are judged by.

    Raises:
        UserError: they were never made, or are not in the cache.
    """
    logits = np.load(revision.file(f"data/predictions/{split}_logits.npy"), mmap_mode="r")
    classes = tuple(
        json.loads(revision.file("data/prepared/meta.json").read_text("utf-8"))["classes"]
    )
    labels = np.load(revision.file(f"data/prepared/{split}_labels.npy"))
    with revision.file("data/prepared/index.csv").open(encoding="utf-8", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file) if row["split"] == split]
    if not len(ids) == len(labels) == len(logits):
        raise UserError(
            f"{revision.name}: {len(logits)} {split} logits for {len(labels)} pictures: its "
            "evaluate stage belongs to other data, so run dvc repro."
        )
    return Predictions(revision, split, classes, np.array(ids), labels, logits)


def same_pictures(parts: Sequence[Predictions]) -> None:
    """Refuse to set results side by side that were measured on different pictures.

    Raises:
        UserError: the revisions differ in classes, in ids or in labels; the sentence says where.
    """
    first = parts[0]
    for other in parts[1:]:
        names = f"{first.revision.name} and {other.revision.name}"
        if first.classes != other.classes:
            raise UserError(
                f"{names} have different classes ({len(first.classes)} and {len(other.classes)}): "
                "only models of the same classes can be compared or combined."
            )
        if len(first.ids) != len(other.ids) or (first.ids != other.ids).any():
            shared = len(np.intersect1d(first.ids, other.ids))
            raise UserError(
                f"{names} have different {first.split} sets ({len(first.ids)} and {len(other.ids)} "
                f"pictures, {shared} in both): give both the same download and split parameters."
            )
        changed = int((first.labels != other.labels).sum())
        if changed:
            raise UserError(
                f"{names} have different labels for {changed} of the same {first.split} pictures: "
                "run both with the same data."
            )


def resolve(name: str, root: str | Path = ".") -> Revision:
    """Find a Git revision, branch, tag or experiment by name, the "workspace", or another clone.

    A clone is named by its folder, say ../base, and read like the workspace.

    Raises:
        UserError: there is none (with the nearest names), or it waits in the queue.
    """
    root = Path(root)
    if name == WORKSPACE:
        return Revision(name, None, WORKSPACE, root)
    if "/" in name and (root / name / "dvc.yaml").is_file():
        return Revision(name, None, WORKSPACE, root / name)
    for kind, ref in (("branch", f"refs/heads/{name}"), ("tag", f"refs/tags/{name}")):
        commit = git_or_none(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
        if commit:
            return Revision(name, commit.strip(), kind, root)
    experiments = _experiments(root)
    if name in experiments:
        return Revision(name, _pick(name, experiments[name], root), "experiment", root)
    # A leading dash would be an option to git.
    commit = (
        None
        if name.startswith("-")
        else git_or_none(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    )
    if commit:
        return Revision(name, commit.strip(), "commit", root)
    state = queue_states(root).get(name)
    if state:
        advice = {
            "queued": "run dvc queue start",
            "running": "wait, or follow it with dvc queue logs " + name,
            "failed": "see dvc queue logs " + name,
        }
        raise UserError(f"experiment {name!r} is not yet run ({state}): {advice[state]}.")
    raise UserError(f"there is no revision or experiment {name!r}{suggestion(name, names(root))}.")


def names(root: Path) -> list[str]:
    """Every name that ``resolve`` knows: the workspace, experiments, branches and tags."""
    heads = (
        git_or_none(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags")
        or ""
    )
    return [WORKSPACE, *sorted(_experiments(root)), *heads.split()]


def experiment_exists(name: str, root: Path) -> bool:
    """Whether an experiment of this name starts from the present commit."""
    head = (git_or_none(root, "rev-parse", "HEAD") or "").strip()
    return head in _experiments(root).get(name, {})


def queue_states(root: Path) -> dict[str, str]:
    """Experiments of DVC's queue that have no result: name -> "queued", "running" or "failed"."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            queue = repo.experiments.celery_queue
            failed = {done.entry.name: "failed" for done in queue.iter_failed()}
            queued = {entry.name: "queued" for entry in queue.iter_queued()}
            running = {entry.name: "running" for entry in queue.iter_active()}
    except DvcException as error:
        raise UserError(f"DVC's queue cannot be read: {error}.") from None
    return {name: state for name, state in (failed | queued | running).items() if name}


def _experiments(root: Path) -> dict[str, dict[str, str]]:
    """name -> {commit that it started from: its own commit}."""
    found: dict[str, dict[str, str]] = {}
    refs = git_or_none(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps") or ""
    for line in refs.splitlines():
        ref, commit = line.split()
        parts = ref.split("/")  # refs/exps/01/23456…/name; the queue's own refs look different
        if len(parts) == 5 and len(parts[2]) == 2 and len(parts[3]) == 38:
            found.setdefault(parts[4], {})[parts[2] + parts[3]] = commit
    return found


def _pick(name: str, commits: dict[str, str], root: Path) -> str:
    """An experiment's name may be used again on another commit: the one on HEAD is meant."""
    head = (git_or_none(root, "rev-parse", "HEAD") or "").strip()
    if len(commits) == 1:
        return next(iter(commits.values()))
    if head in commits:
        return commits[head]
    shas = ", ".join(sorted(commit[:9] for commit in commits.values()))
    raise UserError(f"{len(commits)} experiments are named {name!r}: give a commit, one of {shas}.")


_caches: dict[Path, Path] = {}


def _cache(root: Path) -> Path:
    """The folder of the DVC cache, as DVC's configuration says."""
    key = root.resolve()
    if key not in _caches:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            with Repo(str(root)) as repo:
                _caches[key] = Path(repo.cache.local.path)
        except DvcException:
            raise UserError(
                f"{key} is no DVC project: run from the project's top folder."
            ) from None
    return _caches[key]
