"""`keep`: put a trained model aside, as a start for further training."""

import argparse
import re
import shutil
from pathlib import Path

from classifier.commands import model_option
from classifier.core.errors import UserError
from classifier.core.files import replacing, sha256
from classifier.core.git import git_or_none
from classifier.experiments.dvc_commands import dvc
from classifier.experiments.revisions import WORKSPACE
from classifier.models.spec import read_spec

FOLDER = Path("models/kept")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `keep`."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="what to call it (default: as REV, or 'model')"
    )
    model_option.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Copy the model to models/kept, under its content's name, and let DVC track it.

    `train` writes models/model.safetensors, so DVC removes that file before `train` runs. The
    digest in the name makes another content another parameter: no result of other weights is ever
    taken for this one's, and no stage needs the folder as a dependency.
    """
    name = args.name or args.rev or "model"
    if args.model is None and args.rev is None:
        args.rev = WORKSPACE  # in the cache, if a run that failed has removed the file
    chosen = model_option.choose(args)
    spec = read_spec(chosen.path)
    if spec.name == "ensemble":
        raise UserError(f"{chosen.path} is an ensemble, which cannot be trained: keep its members.")
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model"
    kept = FOLDER / f"{name}-{sha256(chosen.path)[:16]}.safetensors"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as temporary:
        shutil.copyfile(chosen.path, temporary)
    added = dvc("add", "--quiet", str(kept), quiet=True)
    if added.returncode:
        raise UserError(f"dvc add {kept} failed: {added.stdout.strip()}")
    # Staged, so that experiments in folders of their own (--queue, --temp) find it. DVC writes a
    # .gitignore only where no other one covers the file.
    new = [path for path in (Path(f"{kept}.dvc"), FOLDER / ".gitignore") if path.exists()]
    if git_or_none(Path(), "add", *map(str, new)) is None:
        print(f"warning: Git does not track {kept}.dvc: experiments with --temp will not find it")
    print(f"{kept}: {spec.name}, {len(spec.classes)} classes; commit {kept}.dvc")
    print(f"dvc exp run -S model.pretrained={kept.as_posix()}    # goes on from it")
    return 0
