"""Folders and archives come from object stores whole and unchanged, or a sentence says why.

S3 is moto; Google's and Azure's services are stand-ins that answer the few requests of a copy.
"""

import hashlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.sources.download import DownloadParams, download
from classifier.sources.ingest import Summary
from classifier.sources.remote import objects
from tests.sources.test_archive import pack
from tests.sources.test_download import folder_of, rejected
from tests.support import object_stores
from tests.support.object_stores import Bucket

NAMES = ("cat/1.png", "cat/é #2.png", "dog/1.png", "dog/old/2.png")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("s3fs")
    with object_stores.s3_server() as url:
        yield url


@pytest.fixture
def bucket(address: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket(address, hashlib.md5(request.node.name.encode()).hexdigest())
    use(made.env, monkeypatch)
    return made


def use(env: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)


class Reads:
    """Stands before the reads from a store: notes them, and breaks or changes what is told."""

    def __init__(self) -> None:
        self.pieces: list[objects._Piece] = []
        self.break_at: int | None = None  # the byte of a file at which the line breaks
        self.before_last: Callable[[], None] | None = None  # done before a file's last pieces
        self._read = objects._read

    def __call__(
        self, fs: Any, found: Mapping[str, objects._Object], pieces: list[objects._Piece]
    ) -> list[bytes]:
        if self.break_at is not None and pieces[0].start >= self.break_at:
            raise ConnectionError("the line broke")
        if self.before_last and pieces[-1].end == found[pieces[-1].name].size:
            self.before_last()
        self.pieces += pieces
        return self._read(fs, found, pieces)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    made = Reads()
    monkeypatch.setattr(objects, "_read", made)
    return made


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """Two classes of two images each, and what is left out, by their paths."""
    root = folder_of(tmp_path / "in", *NAMES)
    found = {name: (root / name).read_bytes() for name in NAMES}
    return found | {".hidden/x.png": b"x", "cat/.DS_Store": b"x"}


def below(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {prefix + name: data for name, data in files.items()}


def take(url: str, out: Path, source: str = "folder", **settings: object) -> Summary:
    params = DownloadParams(
        **{"source": source, "path": "data/images", "url": url, "workers": 1} | settings  # type: ignore[arg-type]
    )
    return download(params, out, out.parent / "cache")


def test_class_folders_in_s3(bucket: Bucket, files: dict[str, bytes], out: Path) -> None:
    bucket.put(below("sets/pets/", files) | {"sets/pets/": b"", "sets/pets2/cow/1.png": b"x"})
    assert take(f"{bucket.url}/sets/pets", out) == Summary(4, 2, 0, 0, [])
    assert Manifest.read(out).id.tolist() == sorted(NAMES)
    assert take(f"{bucket.url}/sets/pets/", out.with_name("slash")).images == 4


@contextmanager
def google(files: Mapping[str, bytes]) -> Iterator[tuple[object_stores.Store, dict[str, str]]]:
    pytest.importorskip("gcsfs")
    with object_stores.google(files) as made:
        yield made


@contextmanager
def azure(files: Mapping[str, bytes]) -> Iterator[tuple[object_stores.Store, dict[str, str]]]:
    pytest.importorskip("adlfs")
    with object_stores.azure(files) as made:
        yield made


StandIn = Callable[
    [Mapping[str, bytes]], AbstractContextManager[tuple[object_stores.Store, dict[str, str]]]
]
STAND_INS = pytest.mark.parametrize(("scheme", "stand_in"), [("gs", google), ("az", azure)])


@STAND_INS
def test_class_folders_in_other_stores(
    scheme: str, stand_in: StandIn, files: dict[str, bytes], out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(objects, "_PIECE", 100)  # a few for each image
    with stand_in(below("sets/pets/", files)) as (server, env):
        use(env, monkeypatch)
        assert take(f"{scheme}://team/sets/pets", out) == Summary(4, 2, 0, 0, [])
        assert len(server.reads) > len(NAMES)
        server.reads.clear()
        take(f"{scheme}://team/sets/pets", out.with_name("again"))
        assert server.reads == []
    assert Manifest.read(out).id.tolist() == sorted(NAMES)


@STAND_INS
def test_an_archive_in_other_stores(
    scheme: str, stand_in: StandIn, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(tmp_path / "pets.zip", folder_of(tmp_path / "in", *NAMES)).read_bytes()
    with stand_in({"sets/pets.zip": packed}) as (server, env):
        use(env, monkeypatch)
        assert take(f"{scheme}://team/sets/pets.zip", out, "archive").images == 4
        with pytest.raises(UserError, match=f"there is nothing at {scheme}://team/none"):
            take(f"{scheme}://team/none", out, "archive")
        server.status = 403
        with pytest.raises(UserError, match=rf"{scheme}://team/sets cannot be read .*credentials"):
            take(f"{scheme}://team/sets", out)


def test_a_store_that_does_not_answer_is_told_without_a_traceback(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("gcsfs")
    monkeypatch.setattr("gcsfs.retry.random.random", lambda: -64.0)  # no pauses between its tries
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"gs://team/pets cannot be read \(Cannot connect to host"):
        take("gs://team/pets", out)
    assert not [record for record in caplog.records if record.name == "gcsfs"]


def test_only_what_changed_is_copied_again(
    bucket: Bucket, files: dict[str, bytes], out: Path, reads: Reads
) -> None:
    bucket.put(below("pets/", files))
    take(f"{bucket.url}/pets", out)
    assert len(reads.pieces) == 4
    bucket.put({"pets/cat/1.png": files["dog/1.png"], "pets/cow/1.png": files["cat/1.png"]})
    bucket.remove("pets/dog/old/2.png")
    reads.pieces.clear()
    take(f"{bucket.url}/pets", out.with_name("again"))
    assert [piece.name for piece in reads.pieces] == ["pets/cat/1.png", "pets/cow/1.png"]
    assert Manifest.read(out.with_name("again")).id.tolist() == [
        "cat/1.png", "cat/é #2.png", "cow/1.png", "dog/1.png",
    ]  # fmt: skip
    assert list((out.parent / "cache").rglob("old/*")) == []


def test_a_table_in_s3(bucket: Bucket, files: dict[str, bytes], out: Path) -> None:
    table = b"image,label\ncat/1.png,cat\ndog/1.png,dog\n"
    bucket.put(below("pets/", files) | {"pets/train.csv": table})
    assert take(f"{bucket.url}/pets", out, "csv").images == 2
    assert Manifest.read(out).label.tolist() == ["cat", "dog"]


def test_results_do_not_tell_where_the_copies_lie(
    bucket: Bucket, files: dict[str, bytes], out: Path
) -> None:
    bucket.put(below("pets/", files | {"cat/3.png": b"broken"}))
    take(f"{bucket.url}/pets", out, max_rejected=1.0)
    assert list(rejected(out)) == ["pets/cat/3.png"]
    assert "cache" not in (out / "source.json").read_text(encoding="utf-8")


def test_an_archive_in_s3_is_verified_and_kept(
    bucket: Bucket, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    packed = pack(tmp_path / "pets.zip", folder_of(tmp_path / "in", *NAMES)).read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    bucket.put({"pets.zip": packed})
    url = f"{bucket.url}/pets.zip"
    take(url, out, "archive")
    assert f"pets.zip was not verified; to pin it, set download.sha256: {digest}" in (
        capsys.readouterr().err
    )
    with pytest.raises(UserError, match=f"has the SHA256 {digest} where 0+ is expected"):
        take(url, out, "archive", sha256="0" * 64)
    take(url, out, "archive", sha256=digest)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # not asked again
    take(url, out.with_name("kept"), "archive", sha256=digest.upper())
    with pytest.raises(UserError, match=r"set download.source to archive"):
        take(url, out, "folder", sha256=digest)


def test_a_large_file_goes_on_where_it_stopped(
    bucket: Bucket, tmp_path: Path, out: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PIECE", 100)
    monkeypatch.setattr(objects, "_BATCH_BYTES", 300)
    packed = pack(tmp_path / "pets.tar", folder_of(tmp_path / "in", *NAMES)).read_bytes()
    bucket.put({"pets.tar": packed})
    url = f"{bucket.url}/pets.tar"
    reads.break_at = 900
    with pytest.raises(UserError, match=r"cannot be read \(the line broke\)"):
        take(url, out, "archive")
    assert list((out.parent / "cache").rglob("pets.tar")) == []
    reads.break_at = None
    reads.pieces.clear()
    take(url, out, "archive")
    assert reads.pieces[0].start == 900
    (copy,) = (out.parent / "cache").rglob("pets.tar")
    assert copy.read_bytes() == packed
    assert {path.name for path in copy.parent.iterdir()} == {"pets.tar", "versions.jsonl"}


def test_a_copy_is_never_put_together_from_two_versions(
    bucket: Bucket, tmp_path: Path, out: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PIECE", 1000)
    monkeypatch.setattr(objects, "_BATCH_BYTES", 1000)
    root = folder_of(tmp_path / "in", *NAMES)
    packed = pack(tmp_path / "pets.tar", root).read_bytes()
    (root / "cat/1.png").write_bytes((root / "dog/1.png").read_bytes())
    changed = pack(tmp_path / "pets.tar", root).read_bytes()
    assert len(changed) == len(packed)
    url = f"{bucket.url}/pets.tar"
    bucket.put({"pets.tar": packed})
    reads.break_at = 3000  # between two runs
    with pytest.raises(UserError, match="the line broke"):
        take(url, out, "archive")
    bucket.put({"pets.tar": changed})
    reads.break_at = None
    reads.pieces.clear()
    take(url, out, "archive")
    assert reads.pieces[0].start == 0
    (copy,) = (out.parent / "cache").rglob("pets.tar")
    assert copy.read_bytes() == changed

    bucket.put({"pets.tar": packed})
    reads.before_last = lambda: bucket.put({"pets.tar": changed})  # within one
    with pytest.raises(UserError, match="changed while it was read: run the same command again"):
        take(url, out, "archive")
    reads.before_last = None
    take(url, out, "archive")
    assert copy.read_bytes() == changed


def test_a_killed_run_leaves_copies_that_serve(
    bucket: Bucket, files: dict[str, bytes], out: Path, reads: Reads
) -> None:
    bucket.put(below("pets/", files))
    take(f"{bucket.url}/pets", out)
    (log,) = (out.parent / "cache").rglob("versions.jsonl")
    log.write_bytes(log.read_bytes()[:-8])  # half of the last line
    reads.pieces.clear()
    for name in ("first", "second"):
        take(f"{bucket.url}/pets", out.with_name(name))
    assert [piece.name for piece in reads.pieces] == ["pets/dog/old/2.png"] * 2


def test_names_that_lead_out_of_the_folder_are_refused(
    bucket: Bucket, files: dict[str, bytes], out: Path
) -> None:
    for number, name in enumerate(("../evil.png", "cat/../../evil.png", "cat//evil.png")):
        bucket.put(below(f"pets{number}/", files | {name: b"x"}))
        with pytest.raises(UserError, match=r"has '.*evil\.png', which is no path: rename it"):
            take(f"{bucket.url}/pets{number}", out)
    assert list(out.parent.rglob("evil*")) == []


def test_a_public_bucket_needs_no_credentials(
    bucket: Bucket, files: dict[str, bytes], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in object_stores.AWS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(out / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(out / "none"))
    bucket.put(below("pets/", files), ACL="public-read")
    assert take(f"{bucket.url}/pets", out).images == 4
    bucket.put(below("private/", files))
    with pytest.raises(UserError) as caught:
        take(f"{bucket.url}/private", out.with_name("private"))
    message = str(caught.value)
    assert message.startswith(f"download.url: {bucket.url}/private cannot be read (")
    assert "run aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message
    assert "\n" not in message


def test_what_is_not_there_is_told(bucket: Bucket, out: Path) -> None:
    bucket.put({"pets/.hidden": b"x"})
    for url in (f"{bucket.url}/none", "s3://no-such-bucket/a"):
        with pytest.raises(UserError, match=f"there is nothing at {url}: check the address"):
            take(url, out)
    with pytest.raises(UserError, match="holds no files but such as are hidden"):
        take(f"{bucket.url}/pets", out)


@pytest.mark.parametrize(("scheme", "module"), [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs")])
def test_a_missing_package_is_told(
    scheme: str, module: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        take(f"{scheme}://team/pets", out)
    assert str(caught.value).startswith(
        f"{module} is not installed: run make setup EXTRAS={scheme}"
    )


@pytest.mark.parametrize("url", ["ftp://example.org/a.zip", "data/images", "s3:team"])
def test_other_addresses_are_refused(url: str, out: Path) -> None:
    with pytest.raises(UserError, match=r"download\.url: "):
        take(url, out)
