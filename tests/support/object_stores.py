"""Object stores on loopback: moto for S3, and the few requests of the other two that a copy takes.

Nothing here asks for credentials, except where a store is told to.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.support.loopback import running

AWS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Bucket:
    """A bucket of an S3 server, to be filled."""

    def __init__(self, address: str, name: str) -> None:
        import boto3

        self.url = f"s3://{name}"
        self.env = AWS | {"AWS_ENDPOINT_URL": address}
        self._name = name
        self._client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id="tester",
            aws_secret_access_key="secret",
        )
        self._client.create_bucket(Bucket=name)

    def put(self, files: Mapping[str, bytes], **options: Any) -> None:
        """Store files by their keys."""
        for key, data in files.items():
            self._client.put_object(Bucket=self._name, Key=key, Body=data, **options)

    def remove(self, key: str) -> None:
        """Remove a file."""
        self._client.delete_object(Bucket=self._name, Key=key)


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3-compatible server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Store(ThreadingHTTPServer):
    """The objects of one bucket or container by their paths in it."""

    daemon_threads = True
    objects: dict[str, bytes]
    status: int | None = None  # answered to everything
    reads: list[tuple[str, str | None]]  # path and Range of each object that was read


class _Handler(BaseHTTPRequestHandler):
    server: Store
    protocol_version = "HTTP/1.1"

    def respond(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def give(self, path: str, **headers: str) -> None:
        """An object, or the range of it that is asked for."""
        data = self.server.objects[path]
        wanted = self.headers.get("Range") or self.headers.get("x-ms-range")
        if self.command != "HEAD":
            self.server.reads.append((path, wanted))
        headers |= {"ETag": f'"{etag(data)}"', "Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        if wanted is None:
            self.respond(200, data, **headers)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(data)), len(data) - 1)
        headers["Content_Range"] = f"bytes {start}-{end}/{len(data)}"
        self.respond(206, data[start : end + 1], **headers)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class _Google(_Handler):
    """Google's JSON API: list, describe, read."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        parts = [unquote(part) for part in url.path.split("/") if part]
        if self.server.status:
            self.respond(self.server.status, b'{"error": {"message": "denied"}}')
        elif parts[-1] == "o":
            self.answer(self.listed(query.get("prefix", ""), query.get("delimiter", "")))
        elif parts[-1] not in self.server.objects:
            self.respond(404, b'{"error": {"message": "no such object"}}')
        elif query.get("alt") == "media" or "download" in parts:
            self.give(parts[-1])
        else:
            self.answer(self.described(parts[-1]))

    def answer(self, content: object) -> None:
        self.respond(200, json.dumps(content).encode(), Content_Type="application/json")

    def listed(self, prefix: str, delimiter: str) -> dict[str, object]:
        below = [path for path in sorted(self.server.objects) if path.startswith(prefix)]
        deeper = {
            prefix + path.removeprefix(prefix).partition("/")[0] + "/"
            for path in below
            if delimiter and "/" in path.removeprefix(prefix)
        }
        items = [path for path in below if not any(path.startswith(one) for one in deeper)]
        return {
            "kind": "storage#objects",
            "items": [self.described(path) for path in items],
            "prefixes": sorted(deeper),
        }

    def described(self, path: str) -> dict[str, object]:
        data = self.server.objects[path]
        return {
            "kind": "storage#object",
            "bucket": "team",
            "name": path,
            "size": str(len(data)),
            "etag": etag(data),
            "updated": "2024-01-01T00:00:00Z",
        }


class _Azure(_Handler):
    """Azure's blob service: list a container, describe and read a blob."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        _, _, path = unquote(url.path).lstrip("/").partition("/")[2].partition("/")
        headers = {"x_ms_version": "2021-08-06", "x_ms_blob_type": "BlockBlob"}
        if self.server.status:
            self.respond(self.server.status, b"", x_ms_error_code="AuthorizationFailure")
        elif query.get("comp") == "list":
            text = self.listed(query.get("prefix", ""), query.get("delimiter", ""))
            self.respond(200, text.encode(), Content_Type="application/xml", **headers)
        elif path not in self.server.objects:
            self.respond(404, b"", x_ms_error_code="BlobNotFound")
        else:
            self.give(path, **headers)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

    def listed(self, prefix: str, delimiter: str) -> str:
        found: dict[str, str] = {}
        for path, data in sorted(self.server.objects.items()):
            if not path.startswith(prefix):
                continue
            inner, deeper, _ = path.removeprefix(prefix).partition(delimiter or "\0")
            if deeper:
                name = escape(prefix + inner + deeper)
                found[name] = f"<BlobPrefix><Name>{name}</Name></BlobPrefix>"
                continue
            found[path] = (
                f"<Blob><Name>{escape(path)}</Name><Properties>"
                "<Last-Modified>Mon, 01 Jan 2024 00:00:00 GMT</Last-Modified>"
                f"<Etag>{etag(data)}</Etag><Content-Length>{len(data)}</Content-Length>"
                "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            )
        return (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="team">'
            f"<Blobs>{''.join(found.values())}</Blobs><NextMarker/></EnumerationResults>"
        )


def etag(data: bytes) -> str:
    """The version of an object, which is that of its content."""
    return hashlib.md5(data).hexdigest()


@contextmanager
def _serving(handler: type[_Handler], objects: Mapping[str, bytes]) -> Iterator[Store]:
    server = Store(("127.0.0.1", 0), handler)
    server.objects, server.reads = dict(objects), []
    with running(server):
        yield server


@contextmanager
def google(objects: Mapping[str, bytes]) -> Iterator[tuple[Store, dict[str, str]]]:
    """A server for `gs://team`, and the environment that leads to it."""
    with _serving(_Google, objects) as server:
        yield server, {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_port}"}


@contextmanager
def azure(objects: Mapping[str, bytes]) -> Iterator[tuple[Store, dict[str, str]]]:
    """A server for `az://team`, and the environment that leads to it."""
    with _serving(_Azure, objects) as server:
        connection = (
            "DefaultEndpointsProtocol=http;AccountName=tester;AccountKey=c2VjcmV0;"
            f"BlobEndpoint=http://127.0.0.1:{server.server_port}/tester;"
        )
        yield server, {"AZURE_STORAGE_CONNECTION_STRING": connection}
