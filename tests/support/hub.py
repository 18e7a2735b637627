"""A stand-in for the Hugging Face Hub on loopback: one data set, in the answers of a download."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.loopback import running


class Hub(ThreadingHTTPServer):
    """Serves the repository ``team/pets``; may ask for a token."""

    daemon_threads = True
    files: dict[str, bytes]
    token: str | None = None
    reads: list[str]  # paths of the files that were read

    @property
    def commit(self) -> str:
        """The commit that the files are, 40 hex digits."""
        content = repr(sorted(self.files.items())).encode()
        return hashlib.sha1(content).hexdigest()

    @property
    def url(self) -> str:
        """The address of the Hub."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        commit, files = self.server.commit, self.server.files
        api, repository = "/api/datasets/team/pets", "/datasets/team/pets/resolve/"
        token = self.server.token
        if token and self.headers.get("Authorization") != f"Bearer {token}":
            self.answer(401, b"{}", X_Error_Code="RepoNotFound")
        elif path in (api, f"{api}/revision/main", f"{api}/revision/{commit}"):
            siblings = [{"rfilename": name} for name in files]
            self.answer_json({"id": "team/pets", "sha": commit, "siblings": siblings})
        elif path == f"{api}/tree/{commit}":
            self.answer_json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": _digest(data)}
                    for name, data in files.items()
                ]
            )
        elif path.startswith(f"{api}/revision/"):
            self.answer(404, b"{}", X_Error_Code="RevisionNotFound")
        elif path.startswith(f"{repository}{commit}/"):
            name = path.removeprefix(f"{repository}{commit}/")
            if self.command == "GET":
                self.server.reads.append(name)
            data = files[name]
            self.answer(200, data, ETag=f'"{_digest(data)}"', X_Repo_Commit=commit)
        else:
            self.answer(404, b"{}", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

    def answer_json(self, content: object) -> None:
        self.answer(200, json.dumps(content).encode(), Content_Type="application/json")

    def answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(data))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """A Hub whose data set ``team/pets`` has these files."""
    hub = Hub(("127.0.0.1", 0), _Handler)
    hub.files, hub.reads = dict(files), []
    with running(hub):
        yield hub
