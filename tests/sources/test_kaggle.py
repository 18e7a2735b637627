"""Data sets and competitions of Kaggle: kept by version, and refused with what to do."""

import importlib.util
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from tests.sources.test_download import classes, folder_of, take
from tests.support import rewired
from tests.support.rewired import Answer, Request

pytest.importorskip("kagglehub")

HOSTS = {"api.kaggle.com", "storage.googleapis.com"}


class Kaggle:
    """The data set ann/pets, and the competition pets-2024 for users who accepted its rules."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.version = 3
        self.accepted = True
        self.missing = 0  # bytes at the end of the archive
        self.asked: list[Request] = []

    def answer(self, request: Request) -> Answer:
        call = request.path.rpartition("/")[2]
        if request.host == "storage.googleapis.com":
            packed = self.packed()
            modified = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
            return Answer(packed, headers={"Content-Type": "application/zip"} | modified)
        body = json.loads(request.body)
        signed_in = request.headers.get("Authorization") == "Bearer secret"
        archive = {"Location": "https://storage.googleapis.com/bucket/archive.zip"}
        if call == "DownloadDataFiles":
            allowed = signed_in and self.accepted and body["competitionName"] == "pets-2024"
            return Answer(b"", 302, archive) if allowed else Answer(b"", 403)
        if body.get("datasetSlug") == "secret" and not signed_in:
            return Answer(b"", 403)
        if (body.get("ownerSlug"), body.get("datasetSlug")) != ("ann", "pets"):
            return Answer(b"", 404)
        if call == "GetDataset":
            content = json.dumps({"currentVersionNumber": self.version})
            return Answer(content.encode(), headers={"Content-Type": "application/json"})
        return Answer(b"", 302, archive)

    def packed(self) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in self.files.items():
                archive.writestr(name, data)
        return buffer.getvalue()[: buffer.tell() - self.missing]


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    names = ("pets/cat/1.png", "pets/dog/1.png", "other/owl/1.png")
    root = folder_of(tmp_path / "in", *names)
    made = Kaggle({name: (root / name).read_bytes() for name in names})
    for name in [name for name in os.environ if name.startswith("KAGGLE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with rewired.serving(HOSTS, made.answer, monkeypatch) as made.asked:
        yield made


def test_a_data_set_is_kept_by_its_version(
    kaggle: Kaggle, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "kaggle:ann/pets/pets"
    take(out, out, url=url)
    assert classes(out) == ["cat", "dog"]
    assert Manifest.read(out).id.tolist() == ["cat/1.png", "dog/1.png"]
    pinned = "kaggle:ann/pets/versions/3/pets"
    assert f"{url} may change; to pin it, set download.url: {pinned}\n" in capsys.readouterr().err
    kaggle.asked.clear()
    take(out, out, url=pinned)
    assert kaggle.asked == []
    assert "may change" not in capsys.readouterr().err
    kaggle.version = 4
    kaggle.files["pets/cow/1.png"] = kaggle.files["pets/cat/1.png"]
    take(out, out, url=url)
    assert classes(out) == ["cat", "cow", "dog"]
    take(out, out, url=pinned)
    assert classes(out) == ["cat", "dog"]


def test_a_competition_needs_an_account_and_its_rules(
    kaggle: Kaggle, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.files |= {"train.csv": b"image,label\ncat/1,cat\ndog/1,dog\n"}
    url = "kaggle:competitions/pets-2024"
    with pytest.raises(
        UserError, match=r"is for users of Kaggle: set KAGGLE_API_TOKEN, or put the"
    ):
        take(out, out, source="csv", url=url)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret")
    kaggle.accepted = False
    with pytest.raises(UserError) as caught:
        take(out, out, source="csv", url=url)
    assert str(caught.value) == (
        f"download.url: {url} may not be read: set KAGGLE_API_TOKEN, or put the kaggle.json of "
        "kaggle.com/settings into ~/.kaggle, and accept the rules at "
        "kaggle.com/competitions/pets-2024/rules."
    )
    kaggle.accepted = True
    take(out, out, source="csv", url=url, image_folder="pets")
    assert Manifest.read(out).label.tolist() == ["cat", "dog"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("kaggle:ann/none", "there is nothing at kaggle:ann/none: check the address"),
        ("kaggle:ann/pets/none", "there is nothing at kaggle:ann/pets/none: check the path"),
        ("kaggle:ann/secret", r"kaggle:ann/secret may not be read: set KAGGLE_API_TOKEN"),
        ("kaggle:pets", "is no address of Kaggle: write kaggle:OWNER/NAME or kaggle:competitions"),
        ("kaggle:ann/../../etc", "is no address of Kaggle"),
    ],
)
def test_what_kaggle_does_not_give_is_told(
    kaggle: Kaggle, out: Path, url: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        take(out, out, url=url)


def test_a_damaged_download_is_told_and_not_kept(kaggle: Kaggle, out: Path) -> None:
    kaggle.missing = 30
    with pytest.raises(UserError, match=r"kaggle:ann/pets/pets cannot be had \("):
        take(out, out, url="kaggle:ann/pets/pets")
    kaggle.missing = 0
    take(out, out, url="kaggle:ann/pets/pets")
    assert classes(out) == ["cat", "dog"]


def test_a_missing_package_is_told(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"kagglehub is not installed: .*make setup EXTRAS=kaggle"):
        take(out, out, url="kaggle:ann/pets")
