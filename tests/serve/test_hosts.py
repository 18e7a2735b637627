"""Which names the server answers to: a web page elsewhere must not read it by one of its own."""

import re
import socket
from collections.abc import Iterator

import pytest

from classifier.core.errors import UserError
from tests.support.servers import Server, connected, serving
from tests.support.workspace import Workspace

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

PATHS = ("/", "/model", "/examples", "/examples/0.png", "/metrics", "/openapi.json", "/nowhere")
OWN = (
    "localhost",
    "LocalHost:8000",
    "127.0.0.1",
    "127.0.0.1:1",
    "[::1]:8000",
    "192.168.0.7",
    "0.0.0.0:80",
)
FOREIGN = (
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "evil.example:127.0.0.1",
    "[evil.example]",
    "[::1",
    "::1",
    "",
    "*",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(finished: Workspace) -> Iterator[Server]:
    with serving(finished.path) as running:
        yield running
        assert running.log == []


@pytest.fixture(scope="module")
def named(finished: Workspace) -> Iterator[Server]:
    more = ["--allowed-host", "a.example", "--allowed-host", "*.b.example"]
    with serving(finished.path, *more) as running:
        yield running


def status(server: Server, path: str, host: str, version: str = "1.1") -> int:
    with connected(server) as client:
        line = f"GET {path} HTTP/{version}\r\nconnection: close\r\n{host}\r\n"
        client.sendall(line.encode())
        said = b""
        while part := client.recv(65536):
            said += part
    assert b"x-content-type-options: nosniff" in said
    return int(said.split()[1])


@pytest.mark.parametrize("host", FOREIGN)
def test_other_names_are_refused(server: Server, host: str) -> None:
    assert {status(server, path, f"Host: {host}\r\n") for path in PATHS} == {400}


@pytest.mark.parametrize("host", [*OWN, socket.gethostname()])
def test_its_own_names_and_all_addresses_are_right(server: Server, host: str) -> None:
    found = [status(server, path, f"Host: {host}\r\n") for path in PATHS]
    assert found == [200] * (len(PATHS) - 1) + [404]


def test_a_health_check_of_http_1_0_names_no_host(server: Server) -> None:
    assert status(server, "/health", "", "1.0") == 200


def test_names_can_be_added(named: Server) -> None:
    names = ("a.example:80", "x.b.example", "y.x.b.example", "x.a.example", "b.example", "c")
    found = [status(named, "/model", f"Host: {name}\r\n") for name in names]
    assert found == [200, 200, 200, 400, 400, 400]


def test_a_server_for_others_says_its_names_and_answers_to_no_more(finished: Workspace) -> None:
    with serving(finished.path, "--host", "0.0.0.0") as server:
        assert server.process.stdout is not None
        said = server.process.stdout.readline()
        assert re.fullmatch(r"Goes by localhost, .* and its addresses; --allowed-host .*\n", said)
        assert status(server, "/model", "Host: evil.example\r\n") == 400
        assert status(server, "/model", "Host: 10.1.2.3:8000\r\n") == 200
    with serving(finished.path, "--host", "0.0.0.0", "--allowed-host", "*") as server:
        assert status(server, "/model", "Host: any.example\r\n") == 200


@pytest.mark.parametrize(
    "name", ["http://a.example", "a.example:80", "a.*", "*a.example", "", "a/b"]
)
def test_names_with_more_than_a_name_are_refused(name: str) -> None:
    from classifier.web.hosts import own_names

    with pytest.raises(UserError, match=r"--allowed-host .*: give a name without scheme and port"):
        own_names("127.0.0.1", [name])


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8000", 200),
        ("http://localhost:3000", 200),
        ("https://a.example", 200),  # a proxy's name, which asks by an address
        ("https://x.b.example", 200),
        ("http://127.0.0.1:8001", 403),
        ("https://evil.example", 403),
        ("https://a.example.evil.example", 403),
        ("https://evil.example/localhost", 403),
        ("https://localhost@evil.example", 403),
        ("http://[::1", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_pages_of_other_sites_cannot_use_it(named: Server, origin: str, expected: int) -> None:
    lines = f"Host: 127.0.0.1:8000\r\nOrigin: {origin}\r\n"
    found = {path: status(named, path, lines) for path in PATHS[:-1]}
    assert found == dict.fromkeys(PATHS[:-1], expected)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_client_is_its_address_or_its_network(address: str, client: str) -> None:
    from classifier.web.hosts import own_network

    assert own_network(address) == client
