"""Uploads that mean harm, and clients that dawdle or vanish: others must not notice."""

import base64
import io
import resource
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.servers import Server, connected, measured, png, serving
from tests.support.workspace import Workspace

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

KINDS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "TGA")


@pytest.fixture(scope="module")
def server(finished: Workspace) -> Iterator[Server]:
    with serving(finished.path) as running:
        yield running


def form(data: bytes, name: str = "a.png") -> dict[str, object]:
    return {"files": [("pictures", (name, data))]}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int, content: bytes = b"") -> bytes:
    """A small PNG that claims to be large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(content or bytes(10_000_000), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A PNG whose comment unpacks to 100 MB."""
    whole = png(np.zeros((8, 8, 1), np.uint8))
    comment = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))
    return whole[:33] + comment + whole[33:]


def hostile(number: int, seed: int) -> Iterator[dict[str, object]]:
    """Requests that are damaged in every way: as arguments for httpx' post."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    whole = []
    for kind in KINDS:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        whole.append(buffer.getvalue())
    bombs = [bomb(2**31 - 1, 2**31 - 1), bomb(30_000, 30_000), bomb(6_300, 6_300), text_bomb()]
    for turn in range(number):
        data = bytearray(whole[generator.integers(len(whole))])
        way = turn % 8
        if way == 0:
            del data[generator.integers(len(data)) :]
        elif way in (1, 2, 3):  # flipped bytes, more of them each time
            for place in generator.integers(0, len(data), 4**way):
                data[place] = generator.integers(256)
        elif way == 4:
            at = generator.integers(len(data))
            data[at:at] = generator.bytes(int(generator.integers(1, 2000)))
        elif way == 5:
            data = bytearray(generator.bytes(int(generator.integers(0, 5000))))
        elif way == 6:
            head = bytes(data[: generator.integers(8, 40)])
            data = bytearray(head + generator.bytes(2000))
        request: dict[str, object] = form(bytes(data))
        if way == 7:
            request = [
                form(bombs[turn // 8 % len(bombs)]),
                {"content": bytes(data), "headers": {"content-type": "application/json"}},
                {"content": bytes(data), "headers": {
                    "content-type": "multipart/form-data; boundary=" + "b" * (turn % 90 + 1)}},
                {"json": {"pictures": [base64.b64encode(data).decode()[: turn % 99 + 1]]}},
                form(bytes(data), "../" * 300 + "\r\nset-cookie: a=b\x00"),
                {**form(bytes(data)), "headers": {"x-long": "a" * 60_000}},
                {"content": b"[" * 200_000, "headers": {"content-type": "application/json"}},
                {"content": b"--b\r\n" * 5000, "headers": {
                    "content-type": "multipart/form-data; boundary=b"}},
            ][turn // 8 % 8]  # fmt: skip
        yield request


def attack(server: Server, number: int, seed: int) -> list[int]:
    """Send hostile requests from four clients; the statuses."""

    def client(part: int) -> list[int]:
        found = []
        with httpx.Client(timeout=60) as session:
            for request in hostile(number // 4, seed + part):
                try:
                    answer = session.post(f"{server.url}/predict", **request)
                    found.append(answer.status_code)
                except httpx.RemoteProtocolError:  # closed on a header that is too long
                    found.append(0)
        return found

    with ThreadPoolExecutor(4) as pool:
        return [status for part in pool.map(client, range(4)) for status in part]


def expect_alive(server: Server) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    answer = httpx.post(f"{server.url}/predict", **form(picture), timeout=30)
    assert answer.status_code == 200
    assert server.process.poll() is None
    # libtiff's own remarks on damaged files cannot be turned off from Python.
    assert [line for line in server.log if "rror" in line and "TIFF" not in line] == []


@pytest.mark.parametrize("number", [320, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_uploads_are_answered_and_leave_nothing_behind(
    finished: Workspace, number: int
) -> None:
    with serving(finished.path) as server:
        # Fills caches and the threads' own memory: what grows after that, grows for ever.
        attack(server, max(320, number // 2), seed=1000)
        before = measured(server, "process_resident_memory_bytes")
        statuses = attack(server, number, seed=0)
        grown = measured(server, "process_resident_memory_bytes") - before
        assert set(statuses) <= {0, 200, 400, 413, 415, 422}
        assert statuses.count(200) < len(statuses) / 2
        assert {413, 415, 422} <= set(statuses)
        expect_alive(server)
        assert grown < 60e6, f"{grown / 1e6:.0f} MB more"


def test_slow_and_silent_clients_harm_no_other(server: Server) -> None:
    slow = [connected(server) for _ in range(60)]
    head = b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    for number, client in enumerate(slow):
        # A third says nothing, a third stops within the header, a third within the body.
        client.sendall([b"", head, head + b"content-length: 1000\r\n\r\n{"][number % 3])
    times = []
    for _ in range(20):
        started = time.perf_counter()
        expect_alive(server)
        times.append(time.perf_counter() - started)
    assert float(np.median(times)) < 0.5
    for client in slow:
        client.close()


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"])
def test_clients_that_do_not_finish_their_header_are_cut_off(server: Server, before: bytes) -> None:
    with connected(server) as client:
        client.sendall(before + b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ")
        started = time.perf_counter()
        while client.recv(1000):
            pass
        assert 3 < time.perf_counter() - started < 15


def test_a_client_that_drips_its_header_is_cut_off_and_one_at_work_is_not(server: Server) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    with connected(server) as client, httpx.Client(timeout=30) as busy:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        started = time.perf_counter()
        connections, cut_off = set(), False
        while not cut_off and time.perf_counter() - started < 20:
            try:
                client.sendall(b"a: b\r\n")
            except ConnectionError:
                cut_off = True
            answer = busy.post(f"{server.url}/predict", **form(picture))
            assert answer.status_code == 200
            connections.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            time.sleep(0.5)
    assert cut_off
    assert len(connections) == 1


HALVES = {
    "nothing": b"",
    "half a header": b"GET /health HTTP/1.1\r\nx: ",
    "half a body": b"POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
    "a request and no other": b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "a request in vain": b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 3000,
}


@pytest.fixture(scope="module")
def narrow(finished: Workspace) -> Iterator[Server]:
    """A server with room for 64 connections."""

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    with serving(finished.path, prepare=few_files) as running:
        yield running


@pytest.mark.parametrize(
    "kind",
    [
        *list(HALVES)[:-1],
        # Further down, one that does not read its answers is cut off.
        pytest.param("a request in vain", marks=pytest.mark.slow),
    ],
)
def test_silent_clients_do_not_fill_the_table(narrow: Server, kind: str) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    with ExitStack() as stack, httpx.Client(timeout=30, base_url=narrow.url) as honest:
        assert honest.get("/health").status_code == 200
        for _ in range(200):
            client = stack.enter_context(connected(narrow, "127.0.0.2"))
            client.setblocking(False)
            with suppress(OSError):
                client.send(HALVES[kind])
        for _ in range(20):  # the connection of before, and a new one
            assert honest.post("/predict", **form(picture)).status_code == 200
            expect_alive(narrow)
            time.sleep(0.05)
    assert not narrow.log


def test_a_client_that_does_not_read_its_answers_is_cut_off(finished: Workspace) -> None:
    before = "from classifier.web import connections; connections.READ_SECONDS = 6.0  # not 30"
    with serving(finished.path, before=before) as server, connected(server) as client:
        client.setblocking(False)
        with suppress(BlockingIOError):  # until neither side takes any more
            while True:
                client.send(b"GET /page.js HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 100)
        started = time.perf_counter()
        port = f":{client.getsockname()[1]:04X} "
        while time.perf_counter() - started < 60:
            lines = Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()
            ours = [line for line in lines if port in f"{line.split()[2]} "]
            if not any(line.split()[3] == "01" for line in ours):  # established, server's side
                break
            time.sleep(0.5)
        assert 4 < time.perf_counter() - started < 25
        expect_alive(server)


def test_a_header_that_is_too_long_is_refused(server: Server) -> None:
    with connected(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"a" * 100_000)
        assert client.recv(1000).startswith(b"HTTP/1.1 400")


def test_clients_that_vanish_leave_nothing_waiting(server: Server) -> None:
    picture = png(np.zeros((8, 8, 1), np.uint8))
    body = (
        b'--b\r\ncontent-disposition: form-data; name="pictures"; filename="a.png"\r\n\r\n'
        + picture + b"\r\n--b--\r\n"
    )  # fmt: skip
    head = (
        "POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    for number in range(100):
        with connected(server) as client:
            client.sendall(head + (body if number % 2 else body[:-20]))
            # Reset rather than closed: the answer has nowhere to go.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in range(50):
        if measured(server, "classifier_waiting_pictures") == 0:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("pictures are still waiting")
    expect_alive(server)
