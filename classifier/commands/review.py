"""`review`: look at images one by one, and correct their labels."""

import argparse
import importlib.util
import socket
import sys
from pathlib import Path

from classifier.core.errors import UserError, not_installed

HOST = "127.0.0.1"  # this machine alone: whoever reaches the page may change labels
RUNS = Path("runs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `review`."""
    parser.add_argument("--port", type=int, default=8001, help="(default: 8001; 0: any free one)")
    parser.add_argument(
        "--folds",
        metavar="NAME",
        help="the cross-validation in runs/NAME whose out-of-fold logits judge the labels of train "
        "(default: the one there is, of several the latest; none: leave train out)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until it is told to stop."""
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise not_installed(name, "serve")
    folds = choose_folds(args.folds)
    from classifier.web.server import listening

    with listening(HOST, args.port) as listener:
        _serve(listener, folds)
    return 0


def choose_folds(name: str | None) -> Path | None:
    """The folder of the out-of-fold logits to use.

    Raises:
        UserError: there is none of this name.
    """
    if name == "none":
        return None
    if name:
        if not (RUNS / name / "folds.json").is_file():
            raise UserError(
                f"--folds {name}: there is no {RUNS / name}/folds.json: run python -m classifier "
                "folds, or name another."
            )
        return RUNS / name
    found = [path for path in RUNS.glob("*/folds.json") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def _serve(listener: socket.socket, folds: Path | None) -> None:
    from classifier.review.app import create_app
    from classifier.review.desk import Desk, Project
    from classifier.web import server

    desk = Desk(Project(), folds)
    app = create_app(desk)
    listener.listen()  # whoever reads the address may connect at once
    print(f"Review: http://{HOST}:{listener.getsockname()[1]} (Ctrl-C stops)")
    print(
        f"Labels of train are judged by {folds or 'nothing: run python -m classifier folds first'}."
    )
    for name, count in desk.counts().items():
        print(f"  {desk.queues[name].title}: {count:,}")
    print("Decisions go to data/corrections.csv, and take effect with the next dvc repro.")
    sys.stdout.flush()
    server.run(app, listener)
