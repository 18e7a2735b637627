"""Files that are shared on Google Drive: with Google's page of warning, resumed, or not shared."""

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from classifier.core.errors import UserError
from tests.sources.test_archive import pack
from tests.sources.test_download import classes, folder_of, take
from tests.support import rewired
from tests.support.rewired import Answer, Request

pytest.importorskip("gdown")

ID = "1AbC-dEfGhIjKlMnOpQrStUvWxYz_0123"
HOSTS = {"drive.google.com", "drive.usercontent.google.com"}
PIECE = 512 * 1024  # bytes that gdown writes at a time
# What Drive asks before it gives a file that is too large to be scanned.
WARNING = """<html><body><p class="uc-warning-caption">Google Drive can't scan this file.</p>
<form id="download-form" action="https://drive.usercontent.google.com/download" method="get">
<input type="submit" value="Download anyway"/><input type="hidden" name="id" value="{id}">
<input type="hidden" name="export" value="download"><input type="hidden" name="confirm" value="t">
</form></body></html>""".replace("\n", "")


class Drive:
    """One shared file, small or large."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.large = False
        self.shared = True
        self.cut: int | None = None  # bytes after which the line breaks, each time
        self.asked: list[Request] = []

    def answer(self, request: Request) -> Answer:
        if request.query.get("id") != ID:
            return Answer(b"<html>not found</html>", 404)
        if not self.shared:
            return Answer(b"<html>Sign in</html>")
        if self.large and request.query.get("confirm") != "t":
            return Answer(WARNING.format(id=ID).encode())
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": 'attachment; filename="pets.zip"',
        }
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        return Answer(self.data[start:], 206 if start else 200, headers, self.cut)


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    root = folder_of(tmp_path / "in", "cat/1.png", "dog/1.png")
    (root / "notes.txt").write_bytes(np.random.default_rng(0).bytes(4 * PIECE))
    made = Drive(pack(tmp_path / "pets.zip", root).read_bytes())
    with rewired.serving(HOSTS, made.answer, monkeypatch) as made.asked:
        yield made


def taken(out: Path, url: str = f"gdrive:{ID}", **settings: object) -> None:
    take(out, out, source="archive", url=url, **settings)


@pytest.mark.parametrize("large", [False, True])
def test_a_shared_file(
    drive: Drive, out: Path, large: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    drive.large = large
    taken(out)
    assert classes(out) == ["cat", "dog"]
    digest = hashlib.sha256(drive.data).hexdigest()
    assert f"pets.zip was not verified; to pin it, set download.sha256: {digest}" in (
        capsys.readouterr().err
    )
    assert [request.host for request in drive.asked] == sorted(HOSTS)[: 1 + large]
    taken(out, sha256=digest)
    drive.asked.clear()
    taken(out, sha256=digest)  # kept and verified
    assert drive.asked == []
    drive.data = drive.data[:-1] + b"x"
    with pytest.raises(UserError, match=r"pets.zip: .*has the SHA256 .* is expected and was rem"):
        taken(out, sha256="0" * 64)


def test_a_file_that_changed_is_fetched_anew(drive: Drive, out: Path, tmp_path: Path) -> None:
    taken(out)
    root = folder_of(tmp_path / "more", "owl/1.png", "dog/1.png")
    drive.data = pack(tmp_path / "pets.zip", root).read_bytes()
    taken(out)
    assert classes(out) == ["dog", "owl"]


def test_a_download_with_a_checksum_goes_on(drive: Drive, out: Path) -> None:
    digest = hashlib.sha256(drive.data).hexdigest()
    drive.cut = 2 * PIECE - 1
    with pytest.raises(UserError, match=rf"gdrive:{ID} cannot be had \("):
        taken(out, sha256=digest)
    drive.cut = None
    drive.asked.clear()
    taken(out, sha256=digest)
    assert any(
        int(request.headers.get("Range", "bytes=0-")[6:-1]) >= PIECE for request in drive.asked
    )
    assert len(list((out.parent / "cache").rglob("pets.zip*"))) == 1


def test_faults_are_told(drive: Drive, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"gdrive:none is not there, not shared with everybody, or"):
        taken(out, "gdrive:none")
    with pytest.raises(UserError, match=r"is no file of Google Drive: write gdrive:ID"):
        taken(out, "gdrive:https://drive.google.com/file/d/x/view")
    drive.shared = False
    with pytest.raises(UserError, match=r"not shared with everybody, or was asked for too often"):
        taken(out)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"gdown is not installed: .*make setup EXTRAS=gdrive"):
        taken(out)
