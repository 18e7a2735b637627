"""Services whose address a library has built in, played by a server on loopback.

    with rewired.serving({"www.example.org": answer}, monkeypatch) as asked:
        ...  # what requests asks of www.example.org in this process, answer answers

The libraries' own code runs, over real connections; only the host of each request is another one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import pytest
import requests

from tests.support.loopback import running


class Request(NamedTuple):
    """What was asked: the host as the library meant it, path, query, body and headers."""

    host: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]


class Answer(NamedTuple):
    """A status, headers, and a body; ``cut`` is the number of bytes after which the line breaks."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}
    cut: int | None = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answer: Callable[[Request], Answer]
    asked: list[Request]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        request = Request(
            self.headers["X-Meant-Host"],
            url.path,
            dict(parse_qsl(url.query)),
            self.rfile.read(length),
            dict(self.headers),
        )
        self.server.asked.append(request)
        answer = self.server.answer(request)
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), "Content-Type": "text/html"}
        for name, value in (headers | dict(answer.headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut])

    do_POST = do_GET  # noqa: N815 - the name that http.server asks for

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(
    hosts: set[str], answer: Callable[[Request], Answer], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Request]]:
    """Let ``answer`` play these hosts, and refuse all others; yields what is asked."""
    send = requests.adapters.HTTPAdapter.send

    def rewired(self: Any, request: Any, **options: Any) -> requests.Response:
        url = urlsplit(request.url)
        assert url.hostname in hosts, f"{url.hostname} was asked"
        request.headers["X-Meant-Host"] = url.hostname
        local = f"127.0.0.1:{server.server_port}"
        request.url = urlunsplit(("http", local, url.path, url.query, ""))
        response = send(self, request, **options)
        response.url = urlunsplit(url)  # redirects and messages are of the host that was meant
        return response

    server = _Server(("127.0.0.1", 0), _Handler)
    server.answer, server.asked = answer, []  # type: ignore[method-assign]
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", rewired)
    with running(server):
        yield server.asked
