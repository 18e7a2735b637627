"""Experiments travel between clones: through Git and a remote on disk, or one that speaks S3."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support import object_stores, toy_project
from tests.support.object_stores import AWS, Bucket
from tests.support.toy_project import Toy


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3-compatible server on the loopback interface."""
    pytest.importorskip("dvc_s3")
    with object_stores.s3_server() as address:
        yield address


def use_folder(project: Toy, folder: Path) -> None:
    """A DVC remote that is a folder, on a disk that both clones see."""
    project.dvc("remote", "add", "--default", "shared", str(folder / "remote"))


def use_s3(project: Toy, address: str) -> None:
    """A DVC remote in a bucket of the server."""
    Bucket(address, "team")
    project.dvc("remote", "add", "--default", "shared", "s3://team/project")
    project.dvc("remote", "modify", "shared", "endpointurl", address)


def share(toy: Toy, folder: Path, set_up: Callable[[Toy], None], env: dict[str, str]) -> None:
    """What docs/sharing.md tells two people to do."""
    first = toy_project.copy(toy, folder / "first")
    set_up(first)
    first.run("git", "init", "--bare", "--quiet", "--initial-branch=main", str(folder / "git"))
    first.run("git", "remote", "add", "origin", str(folder / "git"))
    first.commit("Share the data")
    first.run("git", "push", "--quiet", "origin", "main")
    first.dvc("push", "--quiet", env=env)
    first.experiment("better", "train.lr=0.9")
    first.dvc("exp", "push", "--quiet", "origin", "better", env=env)

    first.run("git", "clone", "--quiet", str(folder / "git"), str(folder / "second"))
    second = Toy(folder / "second")
    assert "no revision or experiment 'better'" in second.refused("compare", "main", "better")
    second.dvc("exp", "pull", "--quiet", "origin", "better", env=env)
    assert "main is missing from the cache: run dvc fetch --all-branches data/predictions" in (
        second.refused("compare", "main", "better")
    )
    second.dvc("fetch", "--quiet", "--all-branches", env=env)
    assert second.classifier("compare", "main", "better").startswith("better against main: better")
    second.dvc("exp", "apply", "better")
    assert second.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def test_two_clones_share_experiments_through_a_folder(toy: Toy, tmp_path: Path) -> None:
    share(toy, tmp_path, lambda project: use_folder(project, tmp_path), {})
    # The model can be had by name, at a version, without a clone.
    first = Toy(tmp_path / "first")
    first.run("git", "tag", "-a", "-m", "First", "model@v1.0.0", "main")
    first.run("git", "push", "--quiet", "origin", "model@v1.0.0")
    (tmp_path / "out").mkdir()
    for version in ([], ["--rev", "v1.0.0"]):
        target = str(tmp_path / "out" / f"model{len(version)}.npy")
        first.dvc("artifacts", "get", str(tmp_path / "git"), "model", *version, "-o", target)
        np.testing.assert_array_equal(np.load(target), [0.5, 0])


@pytest.mark.slow  # as by a folder; test_changing_bucket.py reads from such a server quickly
def test_two_clones_share_experiments_through_s3(toy: Toy, tmp_path: Path, s3: str) -> None:
    share(toy, tmp_path, lambda project: use_s3(project, s3), AWS)
    assert not (tmp_path / "remote").exists()
