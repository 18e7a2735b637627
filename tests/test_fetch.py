"""A file comes from the first place that has it, whole and verified, or a sentence says why."""

import hashlib
import socket
from pathlib import Path

import pytest

from classifier.errors import UserError
from classifier.sources.fetch import RemoteFile, fetch
from tests.archives import serve, serving, url_of

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
