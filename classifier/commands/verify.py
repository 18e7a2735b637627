"""`verify`: is the run reproducible to the byte on this machine?"""

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from classifier.core.errors import UserError
from classifier.core.files import passing
from classifier.core.git import git
from classifier.core.pretrained import FOLDER
from classifier.core.process import run_dir
from classifier.experiments.dvc_commands import dvc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `verify`."""
    parser.add_argument("--runs", type=int, default=2, help="how many runs to compare (default 2)")


def run(args: argparse.Namespace) -> int:
    """Run the pipeline of this workspace ``runs`` times from scratch and compare the outputs."""
    if args.runs < 2:
        raise UserError(f"--runs is {args.runs}: at least 2 runs can be compared.")
    root = Path.cwd()
    digests = []
    with passing(root / run_dir() / "verify") as folder:
        for number in range(1, args.runs + 1):
            clone = folder / str(number)
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
    """A clone of the repository with what is new or changed here and not committed."""
    git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(clone))
    changed = git(root, "diff", "--name-only", "-z", "--diff-filter=ACMR", "HEAD").split("\0")
    images = _images(root)
    new = git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    changed += [name for name in new if images not in (Path(name), *Path(name).parents)]
    for name in filter(None, changed):
        if not (root / name).is_file():
            continue
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, clone / name)
    for name in filter(None, git(root, "diff", "--name-only", "-z", "--diff-filter=D").split("\0")):
        (clone / name).unlink(missing_ok=True)
    _link_images(root, clone)
    _link_weights(root, clone)


def _link_images(root: Path, clone: Path) -> None:
    """Untracked images do not travel with a clone: let download.path reach the original."""
    path = _images(root)
    if path.is_absolute() or not (root / path).exists():
        return
    target = clone / path
    if git(root, "ls-files", "--others", "--", str(path)).strip():
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to((root / path).resolve())


def _link_weights(root: Path, clone: Path) -> None:
    """Nor do pretrained weights, which Git ignores."""
    for path in (root / FOLDER).rglob("*.safetensors"):
        target = clone / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())


def _images(root: Path) -> Path:
    """What download.path says."""
    from classifier.core.params import read

    return Path(str(read(root / "params.yaml").get("download", {}).get("path", "data/images")))


def _repro(clone: Path) -> None:
    finished = dvc("repro", "--force", root=clone, quiet=True)
    if finished.returncode:
        print(finished.stdout, file=sys.stderr)
        raise UserError("dvc repro failed in the temporary clone: mend what it says above.")


def _digests(clone: Path) -> Iterator[tuple[str, str]]:
    """The SHA-256 of dvc.lock and of each file that it names as an output."""
    lock = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))
    outputs = [out["path"] for stage in lock["stages"].values() for out in stage.get("outs", [])]
    for output in ["dvc.lock", *outputs]:
        path = clone / output
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                yield file.relative_to(clone).as_posix(), digest
