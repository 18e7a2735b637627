"""A real server process on loopback, started and stopped by a test."""

import io
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from PIL import Image

from tests.support.workspace import environment
from tools import ROOT


class Server:
    """A running `serve` or `review` of `python -m classifier`; ``url`` has no slash at its end."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.url = line.split(": ", 1)[1].split(" ")[0]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.log: list[str] = []
        assert process.stderr is not None
        threading.Thread(target=self.log.extend, args=(process.stderr,), daemon=True).start()

    def stop(self) -> int:
        """Ask it to stop; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(
    folder: Path,
    *options: str,
    verb: str = "serve",
    prepare: Callable[[], None] | None = None,
    before: str = "",
) -> Iterator[Server]:
    """Serve from a project's folder, or one with its data alone, on a free port.

    ``prepare`` is called in the new process first; ``before`` is Python that runs there before the
    command does.
    """
    main = ["-c", f"{before}\nimport classifier.__main__"] if before else ["-m", "classifier"]
    process = subprocess.Popen(
        [sys.executable, *main, verb, "--port", "0", *options],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1][-3000:])
        yield Server(process, line)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def connected(server: Server, source: str = "127.0.0.1") -> socket.socket:
    """A connection to it that says nothing yet, from an address of the loopback network."""
    return socket.create_connection(("127.0.0.1", server.port), 30, (source, 0))


def measured(server: Server, name: str) -> float:
    """A metric by its name and labels; 0 where there is none yet."""
    with urlopen(f"{server.url}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 [H, W, C]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()
