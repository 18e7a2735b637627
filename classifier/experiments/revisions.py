"""What a Git revision, an experiment or the workspace holds, read without running anything.

DVC's own file system finds the files: those that Git keeps in Git, the others in the DVC cache.
Nothing is checked out, and no remote is asked unless the caller says ``pull``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from classifier.core.csv_files import read_chunks
from classifier.core.errors import UserError, suggestion
from classifier.core.git import git_or_none
from classifier.core.params import flatten, read_text
from classifier.core.types import FloatArray, Int64Array, TextArray
from classifier.metrics.outcomes import Outcomes

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

WORKSPACE = "workspace"
PULL = "fetch what the cache lacks from the DVC remote"  # what the option --pull of commands does
UNFINISHED = ("queued", "running", "failed")  # states of DVC's queue


@dataclass(frozen=True)
class Revision:
    """One state of the project at ``root``: ``name`` as the user gave it.

    ``rev`` is what DVC takes for a revision (a commit, branch, tag or experiment), None for the
    workspace. With ``pull``, what the cache lacks comes from the DVC remote.
    """

    name: str
    root: Path
    rev: str | None = None
    pull: bool = False

    def open(self, path: str) -> BinaryIO:
        """Open a file that Git or DVC keeps, say metrics/evaluate.json.

        Raises:
            UserError: this revision does not have it, or the cache lacks it.
        """
        if self.rev is None and (self.root / path).is_file():
            return (self.root / path).open("rb")
        files = self.files
        from dvc_data.index import DataIndexDirError

        try:
            file: BinaryIO = files.open(self._prefix + path, cache=True)
        except FileNotFoundError:
            raise self._lacks(path) from None
        except DataIndexDirError:  # the listing of the folder
            raise self._not_cached(path) from None
        except Exception as error:  # each kind of remote has errors of its own
            raise UserError(f"{path} of {self.name} cannot be read: {error}.") from None
        return file

    def has(self, path: str) -> bool:
        """Whether Git or DVC keeps a file of this name."""
        if self.rev is None:
            return (self.root / path).is_file()
        return bool(self.files.exists(self._prefix + path))

    def path(self, path: str) -> Path:
        """Where a file that DVC keeps lies on this machine: in the workspace or in the cache.

        Raises:
            UserError: as `open`.
        """
        with self.open(path) as file:
            return Path(file.name)

    def link(self, folder: str, pattern: str, into: Path) -> None:
        """Link the files of a folder that DVC keeps, those with names like ``pattern``.

        Raises:
            UserError: as `open`.
        """
        from fnmatch import fnmatch

        if not self.files.isdir(self._prefix + folder):
            raise self._lacks(folder)
        listed = self.files.ls(self._prefix + folder, detail=False)
        for name in (path.rpartition("/")[2] for path in listed):
            if fnmatch(name, pattern):
                (into / name).symlink_to(self.path(f"{folder}/{name}").resolve())

    @contextmanager
    def whole(self, path: str) -> "Iterator[BinaryIO]":
        """Open a file to be read as a whole.

        Raises:
            UserError: as `open`; or what is done with the file shows that it is damaged.
        """
        with self.open(path) as file:
            try:
                yield file
            except (UserError, MemoryError):
                raise
            except Exception as error:  # what the parsers raise depends on the damage
                place = file.name if self.rev else path
                again = self._fetching(path.rpartition("/")[0]) if self.rev else "dvc repro"
                raise UserError(
                    f"{path} of {self.name} is damaged ({' '.join(str(error).split())}): remove"
                    f" {place} and run {again}."
                ) from None

    def json(self, path: str) -> dict[str, Any]:
        """A JSON file that Git or DVC keeps.

        Raises:
            UserError: as `open`.
        """
        with self.whole(path) as file:
            return dict(json.load(file))

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameters that its results were made with, by full key: {"train.lr": 0.001, …}.

        They are dvc.lock's, not params.yaml's: a file that was edited and not yet run counts for
        nothing. Each section is the one that the stage which computes with it has recorded: plot
        records the whole file, perhaps of another day.

        Raises:
            UserError: the pipeline has not been run at this revision.
        """
        with self.open("dvc.lock") as file:
            lock = read_text(file.read().decode("utf-8"), f"dvc.lock of {self.name}")
        stages = lock.get("stages", {})
        sections: dict[str, Any] = {}
        for stage in (stages.pop("plot", {}), *stages.values()):
            for recorded in stage.get("params", {}).values():
                sections |= recorded
        return dict(sorted(flatten(sections).items()))

    @cached_property
    def files(self) -> "DVCFileSystem":
        """All its files, with the cache and the remote that the workspace is set up with."""
        from functools import partial

        from dvc.api import DVCFileSystem
        from dvc.repo import Repo

        with _repo(self.root) as workspace:
            remote = workspace.config["core"].get("remote", "") if self.pull else ""
            config = {
                "cache": {"dir": workspace.cache.local_cache_dir},
                "core": {"remote": remote},
                "remote": workspace.config["remote"],
            }
        # A project in a folder of a Git repository is a "subrepo" of what DVC then takes for one.
        sub = {"subrepos": True, "repo_factory": partial(Repo, config=config)}
        return DVCFileSystem(str(self.root), rev=self.rev, config=config, **sub)

    @cached_property
    def _prefix(self) -> str:
        """The path of the project in its Git repository, where ``files`` begins there."""
        if self.rev is None:
            return ""
        return (git_or_none(self.root, "rev-parse", "--show-prefix") or "").strip()

    def _lacks(self, path: str) -> UserError:
        if self._recorded(path):
            return self._not_cached(path)
        if self._recorded(path.rpartition("/")[0]):
            return UserError(f"{self.name} has no {path}: run it with this version.")
        run = "run dvc repro" if self.rev is None else "check it out and run dvc repro"
        return UserError(f"{self.name} is not yet run (it has no {path}): {run}.")

    def _recorded(self, path: str) -> bool:
        """Whether dvc.lock has the hash of an output, or of the file in it."""
        path = self._prefix + path
        return self.files.exists(path) and "md5" in self.files.info(path)

    def _not_cached(self, path: str) -> UserError:
        command = self._fetching(path.rpartition("/")[0])
        with _repo(self.root) as repo:
            remote = bool(repo.config["remote"])
        lacking = f"{path} of {self.name} is missing from the cache"
        if not remote:
            run = "run dvc repro" if self.rev is None else "check it out and run dvc repro"
            return UserError(f"{lacking}, and there is no DVC remote to bring it from: {run}.")
        also = ""
        if command.startswith("dvc exp pull"):
            also = "; what was made before the remote was added is not there, so run it again"
        return UserError(f"{lacking}: run {command}{also}.")

    def _fetching(self, folder: str) -> str:
        """The command that brings the data of this revision into the cache."""
        if self.rev is None:
            return f"dvc fetch {folder}"
        for kind, option in (("heads", "--all-branches"), ("tags", "--all-tags")):
            if git_or_none(self.root, "rev-parse", "--verify", f"refs/{kind}/{self.rev}"):
                return f"dvc fetch {option} {folder}"
        if self.rev in _experiments(self.root):
            return f"dvc exp pull origin {self.rev}"
        return f"dvc fetch --all-commits {folder}"


@dataclass(frozen=True)
class Predictions:
    """What the model of one revision said of one split.

    ``name`` is the revision's, ``params`` are those that made the model. ``logits`` is [N, K] as
    `stored_logits` has them, ``labels`` int64 [N] indices into ``classes``, ids in row order.
    ``temperature`` calibrates the logits, None where it is not known.
    """

    name: str
    params: Mapping[str, Any]
    split: str
    classes: tuple[str, ...]
    ids: TextArray
    labels: Int64Array
    logits: FloatArray
    temperature: float | None = None

    @property
    def outcomes(self) -> Outcomes:
        """What follows from them."""
        return Outcomes(self.logits, self.labels, self.temperature)


def predictions(revision: Revision, split: str = "test") -> Predictions:
    """Read the saved logits of "test" or "val" with the labels they are judged by.

    Raises:
        UserError: they were never made, or are not in the cache.
    """
    with revision.whole(f"data/predictions/{split}_logits.npy") as file:
        logits = np.load(file, allow_pickle=False)
    with revision.whole(f"data/prepared/{split}_labels.npy") as file:
        labels = np.load(file, allow_pickle=False)
    types = {"id": str, "split": str}
    index = read_chunks(revision.path("data/prepared/index.csv"), "preprocess", types)
    names = [table["id"][table["split"] == split] for table in index]
    text: Any = np.dtypes.StringDType()
    ids = np.concatenate([part.to_numpy(text) for part in names])
    if not len(ids) == len(labels) == len(logits):
        raise UserError(
            f"{revision.name}: {len(logits)} {split} logits for {len(labels)} images: its "
            "evaluate stage belongs to other data, so run dvc repro."
        )
    classes = tuple(revision.json("data/prepared/meta.json")["classes"])
    details = "metrics/details.json"
    temperature = revision.json(details).get("temperature") if revision.has(details) else None
    return Predictions(
        revision.name, revision.params, split, classes, ids, labels, logits, temperature
    )


def same_images(parts: Sequence[Predictions]) -> None:
    """Refuse to set results side by side that were measured on different images.

    Raises:
        UserError: the revisions differ in classes, in ids or in labels; the sentence says where.
    """
    first = parts[0]
    for other in parts[1:]:
        names = f"{first.name} and {other.name}"
        if first.classes != other.classes:
            raise UserError(
                f"{names} have different classes ({len(first.classes)} and {len(other.classes)}): "
                "only models of the same classes can be compared or combined."
            )
        if len(first.ids) != len(other.ids) or (first.ids != other.ids).any():
            shared = len({*first.ids.tolist()} & {*other.ids.tolist()})
            raise UserError(
                f"{names} have different {first.split} sets ({len(first.ids)} and {len(other.ids)} "
                f"images, {shared} in both): give both the same download and split parameters."
            )
        changed = int((first.labels != other.labels).sum())
        if changed:
            raise UserError(
                f"{names} have different labels for {changed} of the same {first.split} images: "
                "run both with the same data."
            )


def resolve(name: str, root: str | Path = ".", *, pull: bool = False) -> Revision:
    """Find a Git revision, branch, tag or experiment by name, the "workspace", or another clone.

    A clone is named by its folder, say ../base, and read like the workspace.

    Args:
        name: what DVC takes for a revision; an experiment's name that was used on several commits
            means the one on HEAD.
        root: the project's top folder.
        pull: fetch from the DVC remote what the cache lacks.

    Raises:
        UserError: there is none (with the nearest names), or it waits in the queue.
    """
    from dvc.exceptions import DvcException
    from dvc.scm import RevError

    root = Path(root)
    if name == WORKSPACE:
        return Revision(name, root, pull=pull)
    if "/" in name and (root / name / "dvc.yaml").is_file():
        return Revision(name, root / name, pull=pull)
    revision = Revision(name, root, rev=name, pull=pull)
    try:
        if name and revision.files.repo:
            return revision
    except (RevError, AttributeError):  # the latter of what is in Git and no commit
        pass
    except DvcException as error:
        raise UserError(f"{name} cannot be read: {error}.") from None
    raise _unknown(name, root)


def _unknown(name: str, root: Path) -> UserError:
    """Why no revision has this name."""
    commits = _experiments(root).get(name, {})
    if commits:
        shas = ", ".join(sorted(commit[:9] for commit in commits.values()))
        return UserError(
            f"{len(commits)} experiments are named {name!r}: give a commit, one of {shas}."
        )
    state = queue_states(root).get(name)
    if state:
        advice = {
            "queued": "run dvc queue start",
            "running": "wait, or follow it with dvc queue logs " + name,
            "failed": "see dvc queue logs " + name,
        }
        return UserError(f"experiment {name!r} is not yet run ({state}): {advice[state]}.")
    return UserError(f"there is no revision or experiment {name!r}{suggestion(name, names(root))}.")


def names(root: Path) -> list[str]:
    """Every name that ``resolve`` knows: the workspace, experiments, branches and tags."""
    listed = ("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags")
    return [WORKSPACE, *sorted(_experiments(root)), *(git_or_none(root, *listed) or "").split()]


def experiment_exists(name: str, root: Path) -> bool:
    """Whether an experiment of this name starts from the present commit."""
    head = (git_or_none(root, "rev-parse", "HEAD") or "").strip()
    return head in _experiments(root).get(name, {})


def experiments_of(commit: str, root: Path) -> dict[str, str]:
    """The experiments that started from a commit: name -> their own commit."""
    found = ((name, starts.get(commit)) for name, starts in _experiments(root).items())
    return {name: own for name, own in found if own}


def queue_states(root: Path) -> dict[str, str]:
    """Experiments of DVC's queue that have no result: name -> "queued", "running" or "failed"."""
    with _repo(root) as repo:
        tasks = repo.experiments.celery_queue.status()
    states = {task["name"]: task["status"].lower() for task in tasks if task["name"]}
    return {name: state for name, state in states.items() if state in UNFINISHED}


def _experiments(root: Path) -> dict[str, dict[str, str]]:
    """name -> {commit that it started from: its own commit}."""
    found: dict[str, dict[str, str]] = {}
    with _repo(root) as repo:
        for start, experiments in repo.experiments.ls(all_commits=True).items():
            for name, commit in experiments:
                found.setdefault(name, {})[start] = commit
    return found


@contextmanager
def _repo(root: Path) -> "Iterator[Repo]":
    """The project as DVC knows it; what DVC refuses becomes a UserError."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            yield repo
    except NotDvcRepoError:
        raise UserError(
            f"{root.resolve()} is no DVC project: run from the project's top folder."
        ) from None
    except DvcException as error:
        raise UserError(f"DVC cannot read {root.resolve()}: {error}.") from None
