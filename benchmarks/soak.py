"""The server under 64 clients at once, one in ten of them hostile, for twenty minutes.

    python -m benchmarks.soak                    # SOAK_MINUTES=1 for a short look

Each client has an address of its own (127.1.0.1 and so on: Linux), asks again 50 ms on average
after its answer, and chooses at random: one photograph of 1 megapixel or eight small images in a
form, two in base64, Grad-CAM, the page, what the model is. A hostile one sends, again and again:
damaged images, a bomb (a PNG of 30,000×30,000 pixels, in a form and in base64), a body that is too
large, one of a thousand parts, one in chunks of a byte, one that ends in the middle, one with two
lengths, half a header, 300 requests at once, invalid UTF-8, headers without end, a page's request
from another site; or it resets the connection before the answer. It says nothing between half a
second and five. Ends with 1 if any answer was a 500, an honest request was not answered, memory
grew, the log has a line, or the stop was no clean one. Writes soak.md beside this file.
"""

import base64
import http.client
import io
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.inference import photograph
from benchmarks.machine import machine
from classifier.core.resize import Resize

CLIENTS, HOSTILE_EVERY, PAUSE = 64, 10, 0.05
WARM_UP = 60.0  # seconds, or a quarter of a short run, before memory is compared
MOST_GROWTH = 0.05  # of resident memory between the first and the last quarter after that
ANSWERED = {200, 429, 503}  # what an honest client may hear; the latter two say when to come again

Headers = dict[str, str]


@dataclass
class Results:
    """What the clients heard."""

    times: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    honest: Counter[str] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, int]] = field(default_factory=list)  # seconds, bytes
    problems: list[str] = field(default_factory=list)


def small(seed: int, kind: str = "PNG") -> bytes:
    """A small image, encoded."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes that claims 900 megapixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1 << 20), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def form(*images: bytes) -> tuple[bytes, Headers]:
    """A multipart body and its header."""
    head = b'--b\r\ncontent-disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    body = b"".join(head + image + b"\r\n" for image in images) + b"--b--\r\n"
    return body, {"content-type": "multipart/form-data; boundary=b"}


def texts(*images: bytes) -> tuple[bytes, Headers]:
    """A JSON body and its header."""
    body = {"pictures": [base64.b64encode(image).decode() for image in images]}
    return json.dumps(body).encode(), {"content-type": "application/json"}


class Client:
    """One of the clients: what it sends, and what it hears."""

    def __init__(self, number: int, port: int, results: Results) -> None:
        self.random = random.Random(number)
        self.address, self.port, self.results = f"127.1.0.{number + 1}", port, results
        self.photograph = photograph(1155, 866, number)
        self.images = [small(8 * number + n) for n in range(8)]

    def ask(self, method: str, path: str, body: bytes = b"", headers: Headers | None = None) -> int:
        """Send one request on a connection of its own; the status."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=120, source_address=(self.address, 0)
        )
        try:
            connection.request(method, path, body or None, headers or {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        finally:
            connection.close()

    def raw(self, data: bytes, wait: float = 0, reset: bool = False) -> str:
        """Send bytes, wait, and read what has come: the first status, if there is any."""
        with socket.create_connection(
            ("127.0.0.1", self.port), timeout=60, source_address=(self.address, 0)
        ) as client:
            with suppress(OSError):
                client.sendall(data)
            time.sleep(wait)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return "reset"
            client.settimeout(1)
            with suppress(OSError):
                if found := re.match(rb"HTTP/1.1 (\d+)", client.recv(1000)):
                    return found[1].decode()
        return "closed"

    def be_honest(self) -> None:
        """Ask one thing, and note how long the answer took."""
        kinds: dict[str, tuple[float, Callable[[], int]]] = {
            "photograph": (4, lambda: self.ask("POST", "/predict", *form(self.photograph))),
            "8 images": (3, lambda: self.ask("POST", "/predict", *form(*self.images))),
            "base64": (2, lambda: self.ask("POST", "/predict?top=2", *texts(*self.images[:2]))),
            "Grad-CAM": (0.3, lambda: self.ask("POST", "/explain", *form(self.images[0]))),
            "page": (1, lambda: self.ask("GET", "/")),
            "model": (1, lambda: self.ask("GET", "/model")),
        }
        (name,) = self.random.choices(list(kinds), [weight for weight, _ in kinds.values()])
        started = time.perf_counter()
        try:
            status = kinds[name][1]()
        except (OSError, http.client.HTTPException) as error:
            self.results.honest[f"{name}: {type(error).__name__}"] += 1
            return
        self.results.honest[str(status)] += 1
        if status == 200:
            self.results.times[name].append(time.perf_counter() - started)
        time.sleep(self.random.expovariate(1 / PAUSE) + (status != 200))

    def be_hostile(self) -> None:
        """Do one bad thing."""
        damaged = bytearray(self.random.choice([self.photograph, *self.images]))
        for _ in range(self.random.choice([1, 4, 30])):
            damaged[self.random.randrange(len(damaged))] = self.random.randrange(256)
        head = "POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        chunked = (head + "transfer-encoding: chunked\r\n").encode()
        half = (head + "content-length: 1000000\r\n\r\n{").encode()
        body, kind = form(self.images[0])
        deeds: list[Callable[[], object]] = [
            lambda: self.ask("POST", "/predict", *form(bytes(damaged))),
            lambda: self.ask("POST", "/predict", *form(bomb(), bytes(damaged))),
            lambda: self.ask("POST", "/predict", *texts(bomb())),
            lambda: self.ask("POST", "/predict", bytes(40 << 20), kind),
            lambda: self.ask("POST", "/predict", *form(*[b"x"] * 1000)),
            lambda: self.ask("POST", "/predict", b"[" * 1_000_000, texts()[1]),
            lambda: self.ask("POST", "/predict", b'{"pictures": ["\xff\xfe"]}', texts()[1]),
            lambda: self.ask("POST", "/predict", body, kind | {"origin": "https://evil.example"}),
            lambda: self.ask("GET", "/model", headers={"host": "evil.example"}),
            lambda: self.raw(chunked + b"\r\n" + b"1\r\n \r\n" * 200_000),
            lambda: self.raw(chunked + b"content-length: 5\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            lambda: self.raw(half, self.random.choice([1, 40])),
            lambda: self.raw(half, 0, reset=True),
            lambda: self.raw(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ", 12),
            lambda: self.raw(b"", 12),
            lambda: self.raw(b"GET /model HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 300, 2),
            lambda: self.raw(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"a: b\r\n" * 100_000),
        ]
        try:
            self.results.hostile[str(self.random.choice(deeds)())] += 1
        except (OSError, http.client.HTTPException):
            self.results.hostile["closed"] += 1
        time.sleep(self.random.uniform(0.5, 5))

    def run(self, hostile: bool, end: float) -> None:
        """Go on until the end."""
        while time.monotonic() < end:
            (self.be_hostile if hostile else self.be_honest)()


@contextmanager
def serving(model: Path, log: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of its own process, its port; what it logs goes to a file."""
    command = [sys.executable, "-m", "classifier", "serve", "--port", "0", "--model", str(model)]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline().split(":")[-1].split(" ")[0])
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def soak(seconds: float, model: Path, log: Path) -> Results:
    """Let the clients loose on a server of ``model``; what is wrong is in ``problems``."""
    results = Results()
    with serving(model, log) as (process, port):
        watched = psutil.Process(process.pid)
        started = time.monotonic()
        clients = [Client(number, port, results) for number in range(CLIENTS)]
        threads = [
            threading.Thread(
                target=client.run,
                args=(number % HOSTILE_EVERY == 0, started + seconds),
                daemon=True,
            )
            for number, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        while time.monotonic() < started + seconds and process.poll() is None:
            time.sleep(min(5.0, seconds / 20))
            with suppress(psutil.Error):
                results.memory.append((time.monotonic() - started, watched.memory_info().rss))
        # While some are still at it: a stop under load.
        process.send_signal(signal.SIGTERM)
        try:
            if (status := process.wait(30)) != 0:
                results.problems.append(f"the server ended with {status}")
        except subprocess.TimeoutExpired:
            results.problems.append("the server did not stop in 30 s")
        for thread in threads:
            thread.join(60)
    _judge(results, seconds, log.read_text(errors="replace"))
    return results


def quarters(results: Results, seconds: float) -> tuple[float, float]:
    """Median resident bytes in the first and in the last quarter after the warm-up."""
    warm = min(WARM_UP, seconds / 4)
    memory = [size for moment, size in results.memory if moment > warm]
    part = max(1, len(memory) // 4)
    return float(np.median(memory[:part])), float(np.median(memory[-part:]))


def _judge(results: Results, seconds: float, logged: str) -> None:
    if strange := {
        status: count
        for status, count in results.honest.items()
        if status not in map(str, ANSWERED)
    }:
        results.problems.append(f"honest clients heard {strange}")
    if any(status in ("500", "None") for status in (*results.honest, *results.hostile)):
        results.problems.append("an answer was a 500")
    before, after = quarters(results, seconds)
    if after > before * (1 + MOST_GROWTH):
        results.problems.append(f"memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB")
    # The stop may find an upload that never ends.
    lines = [line for line in logged.splitlines() if "timeout graceful shutdown" not in line]
    if lines:
        results.problems.append(f"the log has {len(lines)} lines, the first {lines[0]!r}")


def save_model(path: Path) -> None:
    """The default network for images of 32×32 pixels, with random weights."""
    import torch

    from classifier.models import model_file
    from classifier.models.registry import build
    from classifier.models.spec import ModelSpec

    torch.manual_seed(0)
    network = build("cnn", {}, classes=10, channels=3, image_size=32)
    mean, std = (0.5,) * 3, (0.25,) * 3
    spec = ModelSpec("cnn", {}, tuple("abcdefghij"), 3, 32, Resize(), mean, std)
    model_file.save(path, network, spec)


def report(results: Results, seconds: float) -> str:
    """The page."""
    about = (__doc__ or "").split("\n\n", 2)[2].strip()
    lines = [
        "# Soak", "", about.replace(" Writes soak.md beside this file.", ""), "",
        f"{machine()}; clients and server share its cores with other work: latency is that under "
        f"such a load. {seconds / 60:.0f} minutes.", "",
        "| asked for | answers | p50 ms | p95 ms | p99 ms | most ms |",
        "| --- |" + " ---: |" * 5,
    ]  # fmt: skip
    for name, times in sorted(results.times.items()):
        figures = " | ".join(f"{1e3 * q:,.0f}" for q in np.quantile(times, (0.5, 0.95, 0.99, 1)))
        lines.append(f"| {name} | {len(times):,} | {figures} |")
    before, after = quarters(results, seconds)
    sizes = [size for _, size in results.memory]

    def counted(statuses: Counter[str]) -> str:
        return ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))

    lines += [
        "",
        f"Honest clients heard {counted(results.honest)}. Hostile ones heard "
        f"{counted(results.hostile)} (closed: no answer in time, or none at all).",
        "",
        f"Resident memory: {before / 1e6:,.0f} MB in the first quarter after the warm-up, "
        f"{after / 1e6:,.0f} MB in the last one, {max(sizes) / 1e6:,.0f} MB at most.",
        "",
        f"Problems: {'; '.join(results.problems) or 'none'}.",
    ]
    return "\n".join([*lines, ""])


def main() -> int:
    """Soak, and write the page."""
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", "20"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_model(folder / "model.safetensors")
        results = soak(seconds, folder / "model.safetensors", folder / "log")
    page = report(results, seconds)
    print(page)
    if seconds >= 600:
        Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
    return 1 if results.problems else 0


if __name__ == "__main__":
    sys.exit(main())
