"""A stand-in for the Hugging Face Hub on loopback: one repository, in the answers of a download."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.loopback import running


class Hub(ThreadingHTTPServer):
    """Serves the data set ``team/pets``, or a repository of weights; may ask for a token."""

    daemon_threads = True
    files: dict[str, bytes]
    kind = "datasets"  # or models
    name = "team/pets"
    license = "mit"
    stated: dict[str, str]  # SHA-256 that it states of a file, where it is not the true one
    break_after: int | None = None  # bytes of a file, once
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
        api = f"/api/{self.server.kind}/{self.server.name}"
        above = "" if self.server.kind == "models" else f"/{self.server.kind}"
        repository = f"{above}/{self.server.name}/resolve/"
        token = self.server.token
        if token and self.headers.get("Authorization") != f"Bearer {token}":
            self.answer(401, b"{}", X_Error_Code="RepoNotFound")
        elif path in (api, f"{api}/revision/main", f"{api}/revision/{commit}"):
            siblings = [
                {
                    "rfilename": name,
                    "size": len(data),
                    "lfs": {
                        "size": len(data),
                        "sha256": self.server.stated.get(name, hashlib.sha256(data).hexdigest()),
                        "pointerSize": 130,
                    },
                }
                for name, data in files.items()
            ]
            card = {"license": self.server.license}
            self.answer_json(
                {"id": self.server.name, "sha": commit, "siblings": siblings, "cardData": card}
            )
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
        if self.command == "HEAD":
            return
        most = self.server.break_after
        if most is not None and len(data) > most:
            data, self.server.break_after = data[:most], None
            self.close_connection = True
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serving(
    files: Mapping[str, bytes], kind: str = "datasets", name: str = "team/pets"
) -> Iterator[Hub]:
    """A Hub whose repository ``name`` has these files."""
    hub = Hub(("127.0.0.1", 0), _Handler)
    hub.files, hub.reads, hub.stated = dict(files), [], {}
    hub.kind, hub.name = kind, name
    with running(hub):
        yield hub
