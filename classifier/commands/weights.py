"""`weights`: bring pretrained weights into models/pretrained."""

import argparse
from pathlib import Path

from classifier.core.errors import UserError
from classifier.core.files import sha256
from classifier.core.pretrained import FOLDER, Weights
from classifier.core.process import run_dir
from classifier.sources.remote.fetch import is_url


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `weights`."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="timm/NAME, timm/NAME.TAG or torchvision/NAME"
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE|URL", help="weights in place of the published ones"
    )
    parser.add_argument(
        "--list", nargs="?", const="", metavar="FILTER", help="names with published weights"
    )


def run(args: argparse.Namespace) -> int:
    """Bring, check and convert the weights of a network, or list what there is."""
    if args.list is not None:
        return _list(args.list)
    if args.name is None:
        raise UserError("no name: give that of a network, such as timm/resnet18, or --list")
    try:
        return _bring(args.name, args.file)
    except UserError as error:
        raise UserError(f"{args.name}: {error}") from None


def _bring(name: str, given: str | None) -> int:
    from classifier.weights.bring import Brought, bring, from_url
    from classifier.weights.convert import check, read_state, write
    from classifier.weights.published import published

    known = published(name)
    cache = run_dir() / "weights"
    if given is None:
        brought = bring(name, known, cache)
    elif is_url(given):
        brought = from_url(name, given, cache)
    else:
        path = Path(given)
        brought = Brought(path, path.name, sha256(path) if path.is_file() else "")
    state = read_state(brought.path)
    check(name, state, known.input.image_size)
    # Of a file that the user gives, nobody says the tag or the license.
    facts = Weights(
        name=name if given else known.name,
        input=known.input,
        source=brought.source,
        sha256=brought.sha256,
        revision=brought.revision,
        license="" if given else brought.license or known.license,
    )
    target = FOLDER / f"{name}.safetensors"
    write(target, state, facts)
    if brought.path.is_relative_to(cache):
        brought.path.unlink()
    print(f"{target}: {facts.name}, {facts.input}; license: {facts.license or 'not stated'}")
    print(f"dvc exp run -S model.name={name} -S model.pretrained=true    # starts from it")
    print(f"dvc add {target}    # to share it, and for experiments with --queue or --temp")
    return 0


def _list(pattern: str) -> int:
    from tabulate import tabulate

    from classifier.weights.published import names, published

    rows = []
    for name in names(pattern):
        known = published(name)
        here = "here" if (FOLDER / f"{name}.safetensors").is_file() else ""
        rows.append((name, str(known.input), known.license, here))
    if not rows:
        raise UserError(f"--list: no network with published weights has {pattern!r} in its name")
    print(tabulate(rows, ("name", "wants", "license", ""), "plain", disable_numparse=True))
    return 0
