"""Archives of either layout are unpacked safely; hostile ones are refused in one sentence."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.images.manifest import Manifest
from classifier.sources import unpack
from classifier.sources.ingest import Summary
from tests.sources.test_download import classes, folder_of, rejected, take
from tests.support.archives import serve, serving, url_of

SUFFIXES = [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"]


def pack(archive: Path, root: Path, top: str = "") -> Path:
    """Pack a folder's content, below the folder ``top`` if that is given."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    names = [f"{top}/{path.relative_to(root).as_posix()}".lstrip("/") for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, name in zip(files, names, strict=True):
                packed.write(path, name)
    else:
        kind = archive.suffix.removeprefix(".").replace("tar", "")
        with tarfile.open(archive, f"w:{kind}") as tar:  # type: ignore[call-overload]
            for path, name in zip(files, names, strict=True):
                tar.add(path, f"./{name}")
    return archive


def unpacked(archive: Path, out: Path, **settings: object) -> Summary:
    return take(archive, out, source="archive", **settings)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("top", ["", "set", "set/v1"])
def test_class_folders_in_any_archive(tmp_path: Path, out: Path, suffix: str, top: str) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "cat/2.png", "dog/1.png", "__MACOSX/cat/x.png")
    assert unpacked(pack(tmp_path / f"a{suffix}", root, top), out) == Summary(3, 2, 0, 0, [])
    assert Manifest.read(out).id.tolist() == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert list((tmp_path / "cache").iterdir()) == []


def test_split_folders_in_an_archive(tmp_path: Path, out: Path) -> None:
    names = ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    unpacked(pack(tmp_path / "a.zip", folder_of(tmp_path / "in", *names), "top"), out)
    assert sorted(set(Manifest.read(out).origin.tolist())) == ["test", "train"]


def test_a_training_folder_alone_is_a_split(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "train/cat/1.png", "train/dog/1.png")
    unpacked(pack(tmp_path / "a.zip", root), out)
    assert set(Manifest.read(out).origin.tolist()) == {"train"}


@pytest.mark.parametrize("top", ["", "set"])
def test_a_table_in_an_archive(tmp_path: Path, out: Path, top: str) -> None:
    root = folder_of(tmp_path / "in", "images/1.png", "images/2.png")
    (root / "train.csv").write_text("image,label\n1,cat\n2,dog\n")
    unpacked(pack(tmp_path / "a.zip", root, top), out, image_folder="images")
    assert Manifest.read(out).label.tolist() == ["cat", "dog"]


def test_the_only_file_of_a_folder_is_the_archive(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "README.md").write_text("x")
    with pytest.raises(UserError, match="is a folder with 0 files"):
        unpacked(folder, out)
    pack(folder / "a.zip", folder_of(tmp_path / "in", "cat/1.png", "dog/1.png"))
    unpacked(folder, out)
    assert classes(out) == ["cat", "dog"]


def test_an_archive_behind_a_url(tmp_path: Path, out: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    archive = pack(served / "my set.zip", folder_of(tmp_path / "in", "cat/1.png", "dog/1.png"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with serve(served) as url:
        address = f"{url}/my%20set.zip"
        unpacked(tmp_path, out, url=address)
        unpacked(tmp_path, tmp_path / "again", url=address, sha256=digest)
    # Kept and verified, it needs no server any more.
    unpacked(tmp_path, tmp_path / "kept", url=address, sha256=digest)
    with serve(served) as url:
        address = f"{url}/my%20set.zip"
        with pytest.raises(UserError, match=r"my set.zip: .*SHA256 .* is expected"):
            unpacked(tmp_path, tmp_path / "wrong", url=address, sha256="0" * 64)
        with pytest.raises(UserError, match=r"none.zip could not be had .* \(HTTP 404\)"):
            unpacked(tmp_path, tmp_path / "none", url=f"{url}/none.zip")
    with pytest.raises(UserError, match="no address of a kind that can be read"):
        unpacked(tmp_path, tmp_path / "odd", url="ftp://example.org/a.zip")
    assert Manifest.read(out).id.tolist() == Manifest.read(tmp_path / "again").id.tolist()


@pytest.mark.parametrize(
    "end", ["..%2F..%2F..%2Fescaped.zip", "%2Fescaped.zip", "..%5Cescaped.zip"]
)
def test_an_archive_behind_a_url_stays_in_the_cache(tmp_path: Path, out: Path, end: str) -> None:
    archive = pack(tmp_path / "moved.zip", folder_of(tmp_path / "in", "cat/1.png", "dog/1.png"))
    with serving(tmp_path) as server:
        server.moved = f"/{archive.name}"
        unpacked(tmp_path, out, url=f"{url_of(server)}/x/{end}")
    (fetched,) = tmp_path.rglob("escaped.zip")
    assert fetched.parent.parent == tmp_path / "cache"
    assert fetched.read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("end", ["a%00b.zip", "..", "%2e%2e", f"{'x' * 300}.zip", "a%0Ab.zip"])
def test_any_name_in_a_url_will_do(tmp_path: Path, out: Path, end: str) -> None:
    archive = pack(tmp_path / "moved.zip", folder_of(tmp_path / "in", "cat/1.png", "dog/1.png"))
    with serving(tmp_path) as server:
        server.moved = f"/{archive.name}"
        assert unpacked(tmp_path, out, url=f"{url_of(server)}/x/{end}").images == 2


def test_messages_and_tables_name_no_temporary_folder(tmp_path: Path, out: Path) -> None:
    root = folder_of(tmp_path / "in", "cat/1.png", "cat/2.png", "dog/1.png")
    (root / "cat" / "2.png").write_bytes(b"broken")
    unpacked(pack(tmp_path / "a.zip", root), out, max_rejected=1.0)
    assert list(rejected(out)) == ["a.zip/cat/2.png"]
    lonely = pack(tmp_path / "b.zip", folder_of(tmp_path / "one", "cat/1.png", "cat/2.png"))
    with pytest.raises(UserError, match=r"b.zip holds|b.zip/cat holds") as caught:
        unpacked(lonely, tmp_path / "second")
    assert "unpacked" not in str(caught.value)


def tar_with(path: Path, member: tarfile.TarInfo, data: bytes = b"") -> Path:
    member.size = len(data)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(data))
    return path


def zip_with(path: Path, name: str, mode: int = 0o100644, copies: int = 1) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for _ in range(copies):
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, b"/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "leads out"),
        ("cat/../../evil.png", "leads out"),
        ("..\\evil.png", "leads out"),
        ("/tmp/evil.png", "absolute"),
        ("C:\\evil.png", "absolute"),
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, out: Path, name: str, reason: str) -> None:
    for archive in (
        zip_with(tmp_path / "a.zip", name),
        tar_with(tmp_path / "a.tar.gz", tarfile.TarInfo(name), b"x"),
    ):
        with pytest.raises(UserError, match=reason):
            unpacked(archive, out)
    assert list(tmp_path.rglob("evil*")) == []
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, out: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("cat/1.png")
    member.type = kind
    member.linkname = "/etc/passwd"
    with pytest.raises(UserError, match=r"cat/1\.png is a link or a device"):
        unpacked(tar_with(tmp_path / "a.tar.gz", member), out)
    with pytest.raises(UserError, match=r"cat/1\.png is a link or a device"):
        unpacked(zip_with(tmp_path / "a.zip", "cat/1.png", 0o120777), out)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_bombs_are_refused(
    tmp_path: Path, out: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in" / "cat").mkdir(parents=True)
    (tmp_path / "in" / "cat" / "1.bmp").write_bytes(bytes(8_000_000))
    archive = pack(tmp_path / f"a{suffix}", tmp_path / "in")
    monkeypatch.setattr(unpack, "RATIO_FROM_BYTES", 1_000_000)
    with pytest.raises(UserError, match="more than 100 times its size"):
        unpacked(archive, out)
    monkeypatch.setattr(unpack, "MAX_BYTES", 2**19)
    with pytest.raises(UserError, match=r"unpacks to more than 0\.0004883 GiB"):
        unpacked(archive, out)


def test_endless_and_double_files_are_refused(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = zip_with(tmp_path / "a.zip", "cat/1.png", copies=2)
    with pytest.raises(UserError, match=r"holds 'cat/1.png' twice"):
        unpacked(archive, out)
    monkeypatch.setattr(unpack, "MAX_MEMBERS", 1)
    with pytest.raises(UserError, match="more than 1 files"):
        unpacked(pack(tmp_path / "b.tar", folder_of(tmp_path / "in", "a/1.png", "b/1.png")), out)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_archives_are_refused(tmp_path: Path, out: Path, suffix: str) -> None:
    archive = pack(tmp_path / f"a{suffix}", folder_of(tmp_path / "in", "cat/1.png", "dog/1.png"))
    data = archive.read_bytes()
    for size in (0, 10, min(len(data) // 2, 700)):
        archive.write_bytes(data[:size])
        with pytest.raises(UserError, match=r"neither a zip nor a tar|damaged|cannot be unpacked"):
            unpacked(archive, out)
    with pytest.raises(UserError, match="does not exist"):
        unpacked(tmp_path / "nowhere.zip", out)


@pytest.mark.parametrize("header", ["GNU.sparse.map=x", "GNU.sparse.size=x", "size=1e99"])
def test_headers_that_make_no_sense_are_refused(tmp_path: Path, out: Path, header: str) -> None:
    body = f"{len(header) + 4} {header}\n".encode()
    extended = tarfile.TarInfo("header")
    extended.type, extended.size = tarfile.XHDTYPE, len(body)
    archive = pack(tmp_path / "a.tar", folder_of(tmp_path / "in", "cat/1.png"))
    block = extended.tobuf(tarfile.USTAR_FORMAT) + body + bytes(512 - len(body))
    archive.write_bytes(block + archive.read_bytes())
    with pytest.raises(UserError, match=r"a\.tar"):
        unpacked(archive, out)


def test_what_is_said_of_an_archive_is_short(tmp_path: Path, out: Path) -> None:
    name = "cat/" + "n" * 3000 + ".png"
    archive = zip_with(tmp_path / "a.zip", name)
    archive.write_bytes(archive.read_bytes().replace(name.encode(), b"x" * len(name), 1))
    with pytest.raises(UserError, match="is damaged") as caught:
        unpacked(archive, out)
    assert len(str(caught.value)) < 500
    with pytest.raises(UserError, match="leads out") as caught:
        unpacked(zip_with(tmp_path / "b.zip", "../" + name), out)
    assert len(str(caught.value)) < 500
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    with pytest.raises(UserError, match="is a link") as caught:
        unpacked(tar_with(tmp_path / "c.tar.gz", member), out)
    assert len(str(caught.value)) < 500
