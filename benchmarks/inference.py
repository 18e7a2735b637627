"""Images per second from files on disk to classes: this project, and the script everyone writes.

    python -m benchmarks.inference

The plain script opens each file with PIL, resizes it, makes a tensor, and runs the network on it
alone, in float32, on as many threads as torch takes by itself. `predict` has a thread a core that
decodes and computes batches, on torch or on ONNX Runtime. Both read the same JPEG files, which
look like photographs to a decoder, and both use the same network, `cnn` for 64×64 pixels with
random weights. Each is a process of its own; imports and loading are not counted. Writes
inference.md beside this file.
"""

import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from classifier.core.resize import Resize

# width, height, images a pass
SETS = {"500×375": (500, 375, 1000), "1280×960": (1280, 960, 300), "4000×3000": (4000, 3000, 40)}
FILES, SIDE, REPEATS = 10, 64, 3
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def photograph(width: int, height: int, seed: int) -> bytes:
    """A JPEG of smooth colors with a camera's noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = generator.normal(0, 6, (256, 256, 3))
    noise = np.tile(noise, (height // 256 + 1, width // 256 + 1, 1))[:height, :width]
    noisy = np.asarray(smooth) + noise
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def plain(model: Path) -> Callable[[list[str]], list[int]]:
    """The plain script."""
    import torch

    from classifier.models import model_file

    network, spec = model_file.load(model)
    mean, std = (torch.tensor(figures).view(3, 1, 1) for figures in (spec.mean, spec.std))

    def run(files: list[str]) -> list[int]:
        found = []
        with torch.no_grad():
            for file in files:
                image = Image.open(file).convert("RGB")
                image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
                values = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
                found.append(int(network(((values - mean) / std)[None]).argmax()))
        return found

    return run


def ours(model: Path, backend: str) -> Callable[[list[str]], list[int]]:
    """What `python -m classifier predict` does, without printing."""
    from classifier.inference.inputs import InputImage
    from classifier.inference.open_predictor import open_predictor
    from classifier.inference.predict import predict
    from classifier.models.buffers import keep_large_buffers

    keep_large_buffers()
    predictor = open_predictor(model, backend, threads=1)  # type: ignore[arg-type]

    def run(files: list[str]) -> list[int]:
        answers = predict(predictor, [InputImage(file, file) for file in files])
        return [int(answer.probabilities.argmax()) for answer in answers]

    return run


WAYS = {
    "plain script": plain,
    "predict, torch": lambda model: ours(model, "torch"),
    "predict, ONNX Runtime": lambda model: ours(model, "onnx"),
}


def measure(way: str, folder: Path) -> None:
    """Print the images per second and the classes for each set, as JSON; in its own process."""
    run = WAYS[way](folder / "model.safetensors")
    result = {}
    for name, (_, _, number) in SETS.items():
        files = sorted(str(path) for path in (folder / name).iterdir())
        files = [files[place % FILES] for place in range(number)]
        run(files[:FILES])
        rates = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            classes = run(files)
            rates.append(number / (time.perf_counter() - started))
        result[name] = {"rates": sorted(rates), "classes": classes[:FILES]}
    print(json.dumps(result))


def main() -> None:
    import torch

    from classifier.models import model_file
    from classifier.models.registry import build
    from classifier.models.spec import ModelSpec

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        torch.manual_seed(0)
        network = build("cnn", {}, classes=10, channels=3, image_size=SIDE)
        torch.nn.init.normal_(network.last_linear.weight, std=0.5)
        facts = ModelSpec(
            "cnn", {}, tuple("abcdefghij"), 3, SIDE, Resize(), (0.5,) * 3, (0.25,) * 3
        )
        model_file.save(folder / "model.safetensors", network, facts)
        for name, (width, height, _) in SETS.items():
            (folder / name).mkdir()
            for seed in range(FILES):
                (folder / name / f"{seed:02}.jpg").write_bytes(photograph(width, height, seed))
        found = {}
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.inference", way, str(folder)]
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            found[way] = json.loads(ended.stdout)
    Path(__file__).with_suffix(".md").write_text(report(found), encoding="utf-8")
    print(report(found))


def report(found: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """The page: a table of the medians, and how often the classes agree."""
    packages = ("torch", "onnxruntime", "pillow")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    lines = [
        "# Predicting files",
        "",
        __doc__.split("\n\n", 2)[2].strip().replace(" Writes\ninference.md beside this file.", ""),
        "",
        f"Python {platform.python_version()}, {versions}; {CORES} cores. Median of {REPEATS} "
        "passes (slowest, fastest), and how many times the plain script's. `python -m "
        "benchmarks.inference` measures anew.",
        "",
        f"| Images per second | {' | '.join(SETS)} |",
        "| --- |" + " --- |" * len(SETS),
    ]
    base = {name: statistics.median(found["plain script"][name]["rates"]) for name in SETS}
    for way, sets in found.items():
        cells = []
        for name in SETS:
            rates = sets[name]["rates"]
            middle = statistics.median(rates)
            cells.append(
                f"{middle:,.0f} ({rates[0]:,.0f}–{rates[-1]:,.0f}), ×{middle / base[name]:.1f}"
            )
        lines.append(f"| {way} | {' | '.join(cells)} |")
    pairs = [
        (one, other)
        for name in SETS
        for one, other in zip(
            found["plain script"][name]["classes"],
            found["predict, torch"][name]["classes"],
            strict=True,
        )
    ]
    same = sum(one == other for one, other in pairs)
    lines += [
        "",
        f"`predict` and the plain script name the same class for {same} of {len(pairs)}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
