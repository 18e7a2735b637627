"""Requests per second and their latency, under a public load generator on loopback.

    python -m benchmarks.serving

wrk (https://github.com/wg/wrk, `apt install wrk`) sends one image a request, a JPEG of 128×96
pixels in a multipart form, from 1, 8 and 64 connections, each asking again as soon as it has its
answer, for 4 seconds after a warm-up. Server and load generator share the machine's cores. The
networks take 32×32 pixels and have random weights: `cnn`, the default, and `resnet`. "Unbatched"
is the same server with --max-batch 1. Writes serving.md beside this file.
"""

import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.inference import photograph
from classifier.core.resize import Resize

NETWORKS, BACKENDS = ("cnn", "resnet"), ("torch", "onnx")
CLIENTS, SECONDS = (1, 8, 64), 4
MODES = {"batched": [], "unbatched": ["--max-batch", "1", "--max-wait", "0"]}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_SCRIPT = """
local file = io.open("image.jpg", "rb")
local image = file:read("*a")
wrk.method = "POST"
wrk.headers["Content-Type"] = "multipart/form-data; boundary=frontier"
wrk.body = "--frontier\\r\\nContent-Disposition: form-data; name=\\"images\\"; " ..
  "filename=\\"a.jpg\\"\\r\\nContent-Type: image/jpeg\\r\\n\\r\\n" .. image ..
  "\\r\\n--frontier--\\r\\n"
done = function(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"rate": %f, "p50": %f, "p95": %f, "p99": %f, "requests": %d, "failed": %d}',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@contextlib.contextmanager
def serving(model: Path, backend: str, options: list[str]) -> Iterator[str]:
    """Run the server; yield its address."""
    command = [sys.executable, "-m", "classifier", "serve", "--port", "0", "--model", str(model)]
    process = subprocess.Popen(
        [*command, "--backend", backend, *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split(": ", 1)[1].split(" ")[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def load(address: str, clients: int, seconds: int, folder: Path) -> dict[str, float]:
    """One run of wrk."""
    ended = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", "post.lua", f"{address}/predict"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(ended.stderr))


def mean_batch(address: str) -> float:
    """Images in one call of the network, on average, since the server started."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    total, calls = (float(values[f"classifier_batch_pictures_{name}"]) for name in ("sum", "count"))
    return total / calls


def main() -> None:
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt install wrk")
    import torch

    from classifier.models import model_file
    from classifier.models.registry import build
    from classifier.models.spec import ModelSpec

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "image.jpg").write_bytes(photograph(128, 96, 0))
        (folder / "post.lua").write_text(_SCRIPT)
        for name in NETWORKS:
            torch.manual_seed(0)
            network = build(name, {}, classes=10, channels=3, image_size=32)
            spec = ModelSpec(
                name, {}, tuple("abcdefghij"), 3, 32, Resize(), (0.5,) * 3, (0.25,) * 3
            )
            model = folder / f"{name}.safetensors"
            model_file.save(model, network, spec)
            for backend in BACKENDS:
                for mode, options in MODES.items():
                    with serving(model, backend, options) as address:
                        load(address, 8, 1, folder)
                        for clients in CLIENTS:
                            found = load(address, clients, SECONDS, folder)
                            rows.append((name, backend, mode, clients, found))
                            print(*rows[-1], flush=True)
                        print(f"mean batch {mean_batch(address):.1f}", flush=True)
    page = report(rows)
    Path(__file__).with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


def report(rows: list[tuple[str, str, str, int, dict[str, float]]]) -> str:
    """The page: one line for each network, backend, mode and number of clients."""
    packages = ("torch", "onnxruntime", "fastapi", "uvicorn")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    about = __doc__.split("\n\n", 2)[2].strip().replace(" Writes serving.md beside this file.", "")
    lines = [
        "# Serving",
        "",
        about,
        "",
        f"Python {platform.python_version()}, {versions}; {CORES} cores. Latency in milliseconds. "
        "`python -m benchmarks.serving` measures anew.",
        "",
        "| network | backend | mode | clients | requests/s | p50 | p95 | p99 | requests | failed |",
        "| --- | --- | --- |" + " ---: |" * 7,
    ]
    for network, backend, mode, clients, found in rows:
        times = " | ".join(f"{found[name]:.1f}" for name in ("p50", "p95", "p99"))
        lines.append(
            f"| {network} | {backend} | {mode} | {clients} | {found['rate']:,.0f} | {times} | "
            f"{found['requests']:,.0f} | {found['failed']:.0f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
