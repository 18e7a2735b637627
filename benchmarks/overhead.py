"""What DVC adds to the stages: the pipeline under `dvc repro`, and the same stages run by hand.

    python -m benchmarks.overhead TITLE [key=value …]

The changes are those of `-S`, for instance download.source=folder download.path=PATH.

Both ways run in clones of the committed project, in turns. By hand, each stage is a process of its
own, as it is under DVC, which also hashes what goes in and out and writes dvc.lock. Then
`dvc repro` again, with nothing to do, and what each stage takes to start: to import all that it
may need.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from tools.stage_packages import imports

STAGES = ("download", "split", "preprocess", "train", "evaluate", "plot")
REPEATS, NOTHING = 3, 5
RESULTS = Path("benchmarks/overhead.md")


def seconds(folder: Path, *command: str) -> float:
    """Wall time of a command that must succeed."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def clone(folder: Path, changes: list[str]) -> Path:
    """The committed project with these parameters, and nothing made yet."""
    subprocess.run(["git", "clone", "-q", ".", str(folder)], check=True)
    change(folder, changes)
    return folder


def change(folder: Path, changes: list[str]) -> None:
    """Change params.yaml as `dvc exp run -S` does."""
    code = "import sys; from dvc.utils.hydra import apply_overrides as a; "
    code += "a('params.yaml', sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, *changes], cwd=folder, check=True)


def main() -> None:
    title, *changes = sys.argv[1:] or ["digits"]
    hand: list[float] = []
    dvc: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(REPEATS):
            one = clone(Path(temporary, f"hand{number}"), changes)
            hand.append(sum(seconds(one, sys.executable, "-m", f"stages.{s}") for s in STAGES))
            other = clone(Path(temporary, f"dvc{number}"), changes)
            dvc.append(seconds(other, "dvc", "repro"))
        idle = [seconds(other, "dvc", "repro") for _ in range(NOTHING)]
        starts = {}
        for stage in STAGES:
            code = f"import {', '.join(sorted(imports(stage)))}"
            starts[stage] = statistics.median(
                seconds(Path(), sys.executable, "-c", code) for _ in range(3)
            )
    ratio = statistics.median(dvc) / statistics.median(hand)
    lines = [
        f"## {title}",
        "",
        f"Medians of {REPEATS} runs each, in turns; {machine()}.",
        "",
        "| | seconds |",
        "|---|---|",
        f"| the six stages by hand | {statistics.median(hand):.1f} |",
        f"| `dvc repro` | {statistics.median(dvc):.1f} (×{ratio:.2f}) |",
        f"| `dvc repro` with nothing to do | {statistics.median(idle):.1f} |",
        *(f"| start of `{stage}` | {taken:.1f} |" for stage, taken in starts.items()),
        "",
    ]
    print("\n".join(lines))
    head = "# What DVC adds\n\n" + (__doc__ or "").split("PATH.\n\n")[1]
    before = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else head
    parts = [part for part in before.split("\n## ") if not part.startswith(f"{title}\n")]
    text = "\n## ".join(part.rstrip("\n") + "\n" for part in parts) + "\n" + "\n".join(lines)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
