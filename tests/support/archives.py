"""Small archives in the formats of published sets, and a server on loopback to fetch them from.

    archive = make_cifar10(folder, per_class=8)
    with serve(folder) as url:
        ...  # download.mirror: url

The published checksums cannot fit archives made here. `pin` gives a set's table entry the checksums
of the files in a folder, in this process; `stage_command` runs the download stage in a process of
its own with an entry so changed:

    subprocess.run(stage_command("cifar10", folder), cwd=workspace)
"""

import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from classifier.sources.published import named
from tests.support.loopback import running

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def random_images(
    classes: int, per_class: int, size: int, channels: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Images that tell their class, shuffled: uint8 [N, size, size, channels] and labels [N].

    Each class is a fixed pattern of blocks under noise, which a small network learns at once.
    """
    patterns = np.random.default_rng(1234).integers(0, 256, (classes, 4, 4, channels))
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(classes), per_class))
    blocks = patterns[labels].repeat(-(-size // 4), 1).repeat(-(-size // 4), 2)
    noisy = blocks[:, :size, :size] + random.normal(0, 20, (len(labels), size, size, channels))
    return noisy.clip(0, 255).astype(np.uint8), labels.astype(np.uint8)


def make_cifar10(folder: Path, per_class: int = 5) -> Path:
    """cifar-10-binary.tar.gz with ``per_class`` images a class in each of its six files."""
    files = {"batches.meta.txt": ("\n".join(CIFAR10_CLASSES) + "\n\n").encode()}
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for seed, name in enumerate(names):
        images, labels = random_images(10, per_class, 32, 3, seed)
        files[name] = _records(images, labels[:, None])
    return _tar(folder / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", files)


def make_cifar100(folder: Path, per_class: int = 1) -> Path:
    """cifar-100-binary.tar.gz with ``per_class`` images a class in train and in test."""
    names = "".join(f"thing_{number:02d}\n" for number in range(100))
    groups = "".join(f"group_{number:02d}\n" for number in range(20))
    files = {"fine_label_names.txt": names.encode(), "coarse_label_names.txt": groups.encode()}
    for seed, name in enumerate(("train.bin", "test.bin")):
        images, labels = random_images(100, per_class, 32, 3, seed)
        files[name] = _records(images, np.stack([labels // 5, labels], axis=1))
    return _tar(folder / "cifar-100-binary.tar.gz", "cifar-100-binary", files)


def make_idx(folder: Path, per_class: int = 5) -> list[Path]:
    """The four gzipped IDX files of MNIST's form, 28×28, ten classes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed, prefix in enumerate(("train", "t10k")):
        images, labels = random_images(10, per_class, 28, 1, seed)
        for name, array in (("images-idx3", images[..., 0]), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
            paths.append(folder / f"{prefix}-{name}-ubyte.gz")
            paths[-1].write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    return paths


def pin(name: str, folder: Path) -> None:
    """Let the set ``name`` expect the files in ``folder`` and ask download.mirror alone."""
    chosen = named.SETS[name]
    files = tuple(
        replace(file, size=path.stat().st_size, checksum=f"md5:{_md5(path)}")
        for file in chosen.files
        for path in [folder / file.name]
    )
    named.SETS[name] = replace(chosen, files=files, mirrors=())


def stage_command(name: str, folder: Path) -> list[str]:
    """A command that runs the download stage with the set ``name`` pinned to ``folder``."""
    code = (
        "from pathlib import Path; from classifier.core.process import stage; from stages import "
        "download; from tests.support.archives import pin; "
        f"pin({name!r}, Path({str(folder)!r})); stage('download', download.main)"
    )
    return [sys.executable, "-c", code]


class Server(ThreadingHTTPServer):
    """Serves a folder; can be told to fail, and notes what it was asked."""

    daemon_threads = True
    ranges: bool = True  # whether Range is understood
    break_after: int | None = None  # bytes after which an answer is cut off, the first time
    status: int | None = None  # answered to everything
    afterwards: int | None = None  # the status once an answer was cut off
    validator: tuple[str, str] | None = None  # header and value; None: an ETag of the content
    listens: bool = True  # whether If-Range is understood
    begin: int | None = None  # where each asked-for range begins, whatever was asked for
    moved: str | None = None  # the address to which everything is redirected, the first time
    length: str | None = None  # what Content-Length says instead of the truth
    extra: dict[str, str]  # further headers of each answer
    asked: list[tuple[str, str | None]]  # path and Range of each request
    conditions: list[str | None]  # If-Range of each request


class _Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        condition = self.headers.get("If-Range")
        self.server.asked.append((self.path, wanted))
        self.server.conditions.append(condition)
        moved, self.server.moved = self.server.moved, None
        if moved:
            self.send_response(302)
            self.send_header("Location", moved)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = Path(self.translate_path(self.path))
        if self.server.status or not path.is_file():
            self.send_error(self.server.status or 404)
            return
        data = path.read_bytes()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        header, value = self.server.validator or ("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        changed = self.server.listens and condition not in (None, value)
        start = start if self.server.ranges and not changed else 0
        if start and self.server.begin is not None:
            start = self.server.begin
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", self.server.length or str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if value:
            self.send_header(header, value)
        for name, text in self.server.extra.items():
            self.send_header(name, text)
        self.end_headers()
        end, self.server.break_after = self.server.break_after, None
        self.wfile.write(data[start:end])
        if end is not None:
            self.server.status = self.server.afterwards
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server on loopback for the files in ``folder``, to be told to fail in some way."""
    server = Server(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    server.asked, server.conditions, server.extra = [], [], {}
    with running(server):
        yield server


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The base URL of a server on loopback for the files in ``folder``."""
    with serving(folder) as server:
        yield url_of(server)


def url_of(server: Server) -> str:
    """The base URL of a server."""
    return f"http://127.0.0.1:{server.server_port}"


def _records(images: np.ndarray, labels: np.ndarray) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([labels.astype(np.uint8), planes], axis=1).tobytes()


def _tar(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
