"""A file comes from the first place that has it, whole and verified, or a sentence says why."""

import errno
import hashlib
import socket
from pathlib import Path

import pytest

from classifier.core.errors import UserError
from classifier.sources.remote import transfer
from classifier.sources.remote.fetch import fetch, url_name
from classifier.sources.remote.transfer import RemoteFile
from tests.support.archives import Server, serve, serving, url_of

DATA = bytes(range(256)) * 4096  # 1 MiB
NAME = "set.tar.gz"
FILE = RemoteFile(NAME, len(DATA), f"sha256:{hashlib.sha256(DATA).hexdigest()}")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    (folder / NAME).write_bytes(DATA)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def bring(places: list[str], cache: Path, file: RemoteFile = FILE) -> Path:
    return fetch(file, places, cache, ways_on="set download.mirror", pause=0.01)


def test_a_file_is_downloaded_once(origin: Path, cache: Path) -> None:
    with serving(origin) as server:
        for _ in range(2):
            assert bring([url_of(server)], cache).read_bytes() == DATA
        assert len(server.asked) == 1
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_a_damaged_copy_in_the_cache_is_replaced(origin: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / NAME).write_bytes(DATA[:-1] + b"x")
    with serve(origin) as url:
        assert bring([url], cache).read_bytes() == DATA


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(origin: Path, cache: Path, ranges: bool) -> None:
    with serving(origin) as server:
        server.break_after = 400_000
        server.ranges = ranges
        assert bring([url_of(server)], cache).read_bytes() == DATA
        assert server.asked[0][1] is None
        assert server.asked[1][1] is not None


def test_the_next_run_goes_on_where_the_last_one_stopped(origin: Path, cache: Path) -> None:
    cache.mkdir()
    (cache / f"{NAME}.partial").write_bytes(DATA[:300_000])
    with serving(origin) as server:
        assert bring([url_of(server)], cache).read_bytes() == DATA
        assert server.asked == [(f"/{NAME}", "bytes=300000-")]


@pytest.mark.parametrize("size", [300_000, len(DATA), len(DATA) + 5])
def test_a_wrong_beginning_is_thrown_away(origin: Path, cache: Path, size: int) -> None:
    cache.mkdir()
    (cache / f"{NAME}.partial").write_bytes(bytes(size))
    with serve(origin) as url:
        assert bring([url], cache).read_bytes() == DATA


def test_the_next_place_is_asked(origin: Path, cache: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with serve(empty) as without, serve(origin) as url:
        places = [str(empty), without, url]
        assert bring(places, cache).read_bytes() == DATA


def test_a_passing_error_is_tried_again(origin: Path, cache: Path) -> None:
    with serving(origin) as server:
        server.status = 503
        with pytest.raises(UserError, match="HTTP 503"):
            bring([url_of(server)], cache)
        assert len(server.asked) == 3
        server.status = 403
        with pytest.raises(UserError, match="HTTP 403"):
            bring([url_of(server)], cache)
        assert len(server.asked) == 4


def test_a_folder_serves_where_it_lies(origin: Path, cache: Path) -> None:
    assert bring([str(origin)], cache) == origin / NAME
    assert not cache.exists()


def test_a_wrong_checksum_is_told_and_the_download_removed(origin: Path, cache: Path) -> None:
    wrong = DATA[:-1] + b"x"
    (origin / NAME).write_bytes(wrong)
    with serve(origin) as url, pytest.raises(UserError) as caught:
        bring([url], cache)
    message = str(caught.value)
    assert NAME in message
    assert hashlib.sha256(wrong).hexdigest() in message
    assert hashlib.sha256(DATA).hexdigest() in message
    assert "removed" in message
    assert list(cache.iterdir()) == []


def test_a_wrong_file_in_a_folder_is_told_and_kept(origin: Path, cache: Path) -> None:
    (origin / NAME).write_bytes(DATA[:1000])
    with pytest.raises(UserError, match=r"has 1,000 bytes where 1,048,576 are expected"):
        bring([str(origin)], cache)
    assert (origin / NAME).exists()


def test_without_a_network_one_sentence_names_file_places_and_ways_on(cache: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UserError) as caught:
            bring([dead, "/nowhere"], cache)
    message = str(caught.value)
    assert message.startswith(f"{NAME} could not be had from {dead} (no connection)")
    assert "/nowhere (no such file)" in message
    assert message.endswith("set download.mirror.")


def test_without_a_checksum_nothing_old_is_trusted(origin: Path, cache: Path) -> None:
    loose = RemoteFile(NAME)
    cache.mkdir()
    (cache / NAME).write_bytes(b"old")
    (cache / f"{NAME}.partial").write_bytes(b"old")
    with serving(origin) as server:
        server.break_after = 400_000
        assert bring([f"{url_of(server)}/{NAME}"], cache, loose).read_bytes() == DATA


CHANGED = DATA[::-1]
LOOSE = RemoteFile(NAME)


def break_off(server: Server, cache: Path, file: RemoteFile) -> None:
    """A first run that ends after 2**18 bytes: the server breaks off, then answers no more."""
    server.break_after, server.afterwards = 2**18, 403
    with pytest.raises(UserError, match="HTTP 403"):
        bring([f"{url_of(server)}/{NAME}"], cache, file)
    server.status = None
    server.asked.clear()
    server.conditions.clear()


@pytest.mark.parametrize("file", [FILE, LOOSE], ids=["checksum", "no checksum"])
@pytest.mark.parametrize(
    "validator", [None, ("Last-Modified", "Sat, 01 Jan 2022 00:00:00 GMT")], ids=["etag", "date"]
)
def test_a_later_run_asks_for_the_rest_of_the_same_version(
    origin: Path, cache: Path, file: RemoteFile, validator: tuple[str, str] | None
) -> None:
    with serving(origin) as server:
        server.validator = validator
        break_off(server, cache, file)
        assert bring([f"{url_of(server)}/{NAME}"], cache, file).read_bytes() == DATA
        assert server.asked == [(f"/{NAME}", "bytes=262144-")]
        (condition,) = server.conditions
        assert condition == (validator[1] if validator else f'"{hashlib.md5(DATA).hexdigest()}"')
    assert [path.name for path in cache.iterdir()] == [NAME]


@pytest.mark.parametrize("listens", [True, False], ids=["If-Range", "Range alone"])
def test_a_file_that_changed_is_fetched_from_its_start(
    origin: Path, cache: Path, listens: bool
) -> None:
    with serving(origin) as server:
        server.listens = listens
        break_off(server, cache, LOOSE)
        (origin / NAME).write_bytes(CHANGED)
        assert bring([f"{url_of(server)}/{NAME}"], cache, LOOSE).read_bytes() == CHANGED
        assert server.conditions[0] == f'"{hashlib.md5(DATA).hexdigest()}"'


@pytest.mark.parametrize(
    "validator", [("ETag", ""), ("ETag", 'W/"1"'), ("Last-Modified", "now")], ids=str
)
def test_without_a_version_or_checksum_everything_is_fetched_anew(
    origin: Path, cache: Path, validator: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(origin) as server:
        server.validator = validator
        if validator[1] == "now":  # a file that changed in the second of the answer may do so again
            monkeypatch.setattr(
                "tests.support.archives._Handler.date_time_string", lambda *_: "now"
            )
        break_off(server, cache, LOOSE)
        (origin / NAME).write_bytes(CHANGED)
        assert bring([f"{url_of(server)}/{NAME}"], cache, LOOSE).read_bytes() == CHANGED
        assert server.asked == [(f"/{NAME}", None)]


def test_the_version_of_another_address_is_not_asked_for(origin: Path, cache: Path) -> None:
    with serving(origin) as first, serving(origin) as second:
        break_off(first, cache, FILE)
        assert bring([url_of(second)], cache).read_bytes() == DATA
        assert second.asked == [(f"/{NAME}", "bytes=262144-")]
        assert second.conditions == [None]


def test_bytes_from_elsewhere_in_the_file_are_not_added(origin: Path, cache: Path) -> None:
    with serving(origin) as server:
        break_off(server, cache, LOOSE)
        server.begin = 262_000
        assert bring([f"{url_of(server)}/{NAME}"], cache, LOOSE).read_bytes() == DATA


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ("my%20set.zip", "my set.zip"),
        ("a.zip?token=b/c.zip#d", "a.zip"),
        ("..%2F..%2F..%2Fclassifier%2Ferrors.py", "errors.py"),
        ("%2Ftmp%2Fevil.zip", "evil.zip"),
        ("..%5C..%5Cevil.zip", "evil.zip"),
        ("C%3A%5Cevil.zip", "evil.zip"),
        ("C:evil.zip", "C_evil.zip"),
        ("a%00b%0A.zip", "a_b_.zip"),
        ("%E2%80%AEevil.zip", "_evil.zip"),
        ("x" * 300 + ".zip", "x" * 96 + ".zip"),
        ("%F0%9F%98%80" * 300, "😀" * 25),
        ("..", "download"),
        ("%2e%2e", "download"),
        ("..%2F", "download"),
        (".hidden", "hidden"),
        ("", "download"),
        ("%ff.zip", "�.zip"),
        ("\ud800.zip", "_.zip"),
    ],
)
def test_the_name_at_the_end_of_a_url_is_a_plain_one(end: str, name: str) -> None:
    assert url_name(f"http://127.0.0.1:1/x/{end}") == name
    assert url_name(f"http://127.0.0.1:1/{end}") == name


@pytest.mark.parametrize("url", ["http://", "http://host", "http://[::1", "http://a/b?c=/../d"])
def test_any_address_has_a_name(url: str) -> None:
    assert url_name(url) in ("download", "b")


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1/a", "http://h:99999999/a", f"http://{'a' * 70}/b", "http://.a/\ud800"],
)
def test_an_impossible_address_is_told(cache: Path, url: str) -> None:
    with pytest.raises(UserError, match="could not be had from http://"):
        bring([url], cache, RemoteFile(url_name(url)))


def test_where_an_address_leads_and_what_headers_say_names_no_file(
    origin: Path, cache: Path
) -> None:
    with serving(origin) as server:
        server.moved = f"/{NAME}?name=../../evil"
        server.extra = {"Content-Disposition": 'attachment; filename="../../evil"'}
        assert bring([f"{url_of(server)}/set"], cache, RemoteFile("set")).read_bytes() == DATA
    assert sorted(path.name for path in cache.parent.rglob("*")) == sorted(
        ["cache", "origin", "set", NAME]
    )


def test_a_length_that_is_no_number_is_passed_over(origin: Path, cache: Path) -> None:
    with serving(origin) as server:
        server.length = "many"
        assert bring([url_of(server)], cache).read_bytes() == DATA


def test_a_full_disk_is_told(origin: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer.Partial, "finish", full)
    with serve(origin) as url, pytest.raises(UserError, match=r"written \(No space left"):
        bring([url], cache)
