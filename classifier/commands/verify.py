"""`verify`: is the run reproducible to the byte on this machine?"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from classifier.errors import UserError

# What a run writes and DVC or Git keeps.
OUTPUTS = ("data/raw", "data/splits", "data/prepared", "data/predictions", "models", "metrics")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `verify`."""
    parser.add_argument("--runs", type=int, default=2, help="how many runs to compare (default 2)")


def run(args: argparse.Namespace) -> int:
    """Run the pipeline of this workspace ``runs`` times from scratch and compare the outputs."""
    if args.runs < 2:
        raise UserError(f"--runs is {args.runs}: at least 2 runs can be compared.")
    root = Path.cwd()
    digests = []
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        for number in range(1, args.runs + 1):
            clone = Path(folder) / str(number)
            _copy_workspace(root, clone)
            print(f"run {number} of {args.runs} …", flush=True)
            _repro(clone)
            digests.append(dict(_digests(clone)))
    first = digests[0]
    differing = sorted(
        {
            name
            for other in digests[1:]
            for name in first.keys() | other.keys()
            if first.get(name) != other.get(name)
        }
    )
    if differing:
        print(f"not reproducible: {len(differing)} of {len(first)} files differ between runs:")
        print("\n".join(f"  {name}" for name in differing))
        return 1
    print(f"reproducible: {len(first)} files are the same, byte for byte, in {args.runs} runs.")
    print(f"models/model.safetensors sha256 {first.get('models/model.safetensors')}")
    return 0


def _copy_workspace(root: Path, clone: Path) -> None:
    """A clone of the repository with the workspace's uncommitted changes to tracked files."""
    _git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(clone))
    changed = _git(root, "diff", "--name-only", "-z", "--diff-filter=ACMR", "HEAD").split("\0")
    for name in filter(None, changed):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, clone / name)
    for name in filter(
        None, _git(root, "diff", "--name-only", "-z", "--diff-filter=D").split("\0")
    ):
        (clone / name).unlink(missing_ok=True)
    _link_pictures(root, clone)


def _link_pictures(root: Path, clone: Path) -> None:
    """Untracked pictures do not travel with a clone: let download.path reach the original."""
    from classifier.params import read

    path = Path(str(read(root / "params.yaml").get("download", {}).get("path", "")))
    if path.is_absolute() or not (root / path).exists():
        return
    target = clone / path
    if _git(root, "ls-files", "--others", "--", str(path)).strip():
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to((root / path).resolve())


def _repro(clone: Path) -> None:
    log = clone / ".verify.log"
    with log.open("w") as output:
        status = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", "--force"],
            cwd=clone,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if status:
        print(log.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
        raise UserError("dvc repro failed in the temporary clone: mend what it says above.")


def _digests(clone: Path) -> Iterator[tuple[str, str]]:
    for output in OUTPUTS:
        for path in sorted((clone / output).rglob("*")):
            if path.is_file() and path.name != ".gitignore":
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                yield path.relative_to(clone).as_posix(), digest


def _git(root: Path, *arguments: str) -> str:
    finished = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise UserError(f"git {arguments[0]} failed: {finished.stderr.strip()}.")
    return finished.stdout
