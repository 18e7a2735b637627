"""DVC watches what the sources read; what it would not watch is refused."""

import os
import subprocess
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.sources.tree import files_below
from tests.sources.test_download import folder_of, image, rejected, take
from tests.support import workspace


@pytest.mark.parametrize("source", ["folder", "csv", "archive"])
@pytest.mark.parametrize("link", ["cat", "cat/more", "train/cat"])
def test_a_link_to_a_folder_is_refused(tmp_path: Path, out: Path, source: str, link: str) -> None:
    root = folder_of(tmp_path / "in", "dog/1.png", "dog/2.png")
    store = folder_of(tmp_path / "store", "1.png")
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(store, target_is_directory=True)
    (root / "train.csv").write_text(f"image,label\ndog/1.png,dog\n{link}/1.png,cat\n")
    with pytest.raises(UserError, match=rf"{root / link} is a link to a folder, which DVC does"):
        take(root, out, source=source)


def test_a_link_back_up_is_refused(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    (root / "cat" / "up").symlink_to("..", target_is_directory=True)
    with pytest.raises(UserError, match="is a link to a folder"):
        take(root, out)


def test_what_is_passed_over_may_be_a_link(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    (root / ".git").symlink_to(folder_of(tmp_path / "store", "1.png"), target_is_directory=True)
    assert take(root, out).images == 2


def test_links_to_files_and_the_folder_itself_as_a_link_are_followed(
    tmp_path: Path, out: Path
) -> None:
    store = image(tmp_path / "store" / "x.png", 9)
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    (root / "cat" / "2.png").symlink_to(store)
    (root / "cat" / "dead.png").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    take(tmp_path / "link", out, max_rejected=0.5)
    assert Manifest.read(out).id.tolist() == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert list(rejected(out).values()) == ["it cannot be read (No such file or directory)"]


def test_a_dvc_repository_below_is_refused(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    (root / "dog" / ".dvc").mkdir()
    with pytest.raises(UserError, match="in/dog is a DVC repository of its own"):
        take(root, out)
    (root / "dog" / ".dvc").rename(root / ".dvc")  # DVC does look into the folder that it is given
    assert take(root, out).images == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none")
def test_a_pipe_does_not_block(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    os.mkfifo(root / "cat" / "2.png")
    with pytest.raises(UserError, match=r"cat/2\.png is a pipe, socket or device"):
        take(root, out)


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=r"in cannot be read \(Permission denied\)"):
        files_below(folder_of(tmp_path / "in", "cat/1.png"))


def test_folders_may_be_nested_deeply(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    here = os.open(tmp_path / "in", os.O_RDONLY)
    for _ in range(1200):  # step by step: one long path is more than the system takes
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("1.png", os.O_CREAT, dir_fd=here))
    os.close(here)
    try:
        (path,) = files_below(tmp_path / "in")
    finally:
        subprocess.run(["rm", "-r", tmp_path / "in"], check=True)  # shutil.rmtree is recursive
    assert path.count("/") == 1200


def images_of(place: workspace.Workspace) -> int:
    return len(Manifest.read(place.path / "data" / "raw"))


@pytest.mark.slow
def test_dvc_notices_what_changes_behind_links(tmp_path: Path) -> None:
    place = workspace.fresh(tmp_path / "project", with_results=False)
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    store = image(tmp_path / "store" / "x.png", 9)
    (root / "cat" / "2.png").symlink_to(store)
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    place.set(download__source="folder", download__path=str(tmp_path / "link"))
    place.dvc("repro", "download")
    before = Manifest.read(place.path / "data" / "raw").content.tolist()

    image(store, 10)  # behind the link to a file
    place.dvc("repro", "download")
    after = Manifest.read(place.path / "data" / "raw").content.tolist()
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]

    image(root / "cat" / "3.png", 11)  # behind the folder's own link
    place.dvc("repro", "download")
    assert images_of(place) == 4

    (root / "cat").rename(tmp_path / "moved")
    (root / "cat").symlink_to(tmp_path / "moved", target_is_directory=True)
    refused = place.dvc("repro", "download", check=False)
    assert refused.returncode
    assert "error: download.path: " in refused.stderr
    assert "is a link to a folder" in refused.stderr
