"""What docs/sources.md tells about a bucket that grows: DVC imports it, and takes changes in."""

from pathlib import Path

import pytest

from tests.sources.test_download import folder_of
from tests.support import object_stores, workspace
from tests.support.object_stores import Bucket


@pytest.mark.slow  # commands of DVC alone, as docs/sources.md gives them
def test_a_bucket_that_grows_is_imported_and_followed(tmp_path: Path) -> None:
    pytest.importorskip("dvc_s3")
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)]
    root = folder_of(tmp_path / "made", *names, "cat/new.png")
    files = {f"pets/{name}": (root / name).read_bytes() for name in (*names, "cat/new.png")}
    added = files.popitem()
    project = workspace.fresh(tmp_path / "project", with_results=False)
    with object_stores.s3_server() as address:
        bucket = Bucket(address, "growing")
        bucket.put(files)
        project.dvc("import-url", "--quiet", "s3://growing/pets", "data/pets", env=bucket.env)
        project.set(download__source="folder", download__path="data/pets")
        project.dvc("repro", "download")
        assert len(project.read("data/raw/manifest.csv").splitlines()) == 1 + 6
        project.commit("import")

        bucket.put(dict([added]))
        project.dvc("update", "--quiet", "data/pets.dvc", env=bucket.env)
    # Neither the stage nor another state asks the bucket.
    project.dvc("repro", "download")
    assert "cat/new.png" in project.read("data/raw/manifest.csv")
    project.commit("update")
    project.run("git", "checkout", "--quiet", "HEAD~1")
    project.dvc("checkout", "data/pets.dvc", "download")
    assert not (project.path / "data/pets/cat/new.png").exists()
    assert len(project.read("data/raw/manifest.csv").splitlines()) == 1 + 6


def test_a_url_takes_the_place_of_a_path(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(3)]
    root = folder_of(tmp_path / "made", *names)
    project = workspace.fresh(tmp_path / "project", with_results=False)
    with object_stores.s3_server() as address:
        bucket = Bucket(address, "fixed")
        bucket.put({f"pets/{name}": (root / name).read_bytes() for name in names})
        project.set(download__source="folder", download__url="s3://fixed/pets")
        project.dvc("repro", "download", env=bucket.env)
        assert len(project.read("data/raw/manifest.csv").splitlines()) == 1 + 6
        project.set(download__url="s3://fixed/none")
        failed = project.dvc("repro", "download", env=bucket.env, check=False)
    assert failed.returncode != 0
    assert "error: download.url: there is nothing at s3://fixed/none" in failed.stderr
    assert "Traceback" not in failed.stderr
    # What DVC has is still what was there before.
    project.set(download__url="s3://fixed/pets")
    assert "is cached" in project.dvc("repro", "download").stdout
