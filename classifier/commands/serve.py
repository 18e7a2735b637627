"""`serve`: answer over HTTP, with a page to try the model on."""

import argparse
import importlib.util
import ipaddress
import math
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from classifier.commands import model_option
from classifier.core.errors import UserError, not_installed

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_fastapi_instrumentator")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `serve`."""
    model_option.add_arguments(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine alone; 0.0.0.0: everyone)",
    )
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME",
        help="name that the server is reached by, as behind a proxy; may be repeated (localhost, "
        "this machine's name and addresses need none; *.example.org: all below it; *: any)",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, help="(default: 8000; 0: any free one)")
    parser.add_argument(
        "--backend",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what computes (default: ONNX Runtime for an .onnx file, else torch)",
    )
    parser.add_argument(
        "--max-batch", type=int, default=64, help="images computed together (default: 64)"
    )
    parser.add_argument(
        "--max-wait", type=float, default=0, metavar="MS",
        help="milliseconds that an image waits for others while nothing is computed (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--max-body", type=float, default=32, metavar="MIB", help="of a request (default: 32)"
    )
    parser.add_argument(
        "--max-in-flight", type=float, metavar="MIB",
        help="of all requests under way, and half of it for one address (default: 256, or "
        "--max-body if that is more)",
    )  # fmt: skip
    parser.add_argument(
        "--max-pixels", type=int, default=40_000_000, help="of an image (default: 40,000,000)"
    )
    parser.add_argument(
        "--max-files", type=int, default=64, help="images in a request (default: 64)"
    )
    parser.add_argument(
        "--max-queue", type=int, default=512, help="images under way (default: 512)"
    )
    parser.add_argument(
        "--max-per-client", type=int, default=256,
        help="the same of one address (default: 256; 0: no limit, not of bytes either: behind a "
        "proxy)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serve until it is told to stop."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise not_installed(missing[0], "serve")
    for name in ("max_batch", "max_body", "max_pixels", "max_files", "max_queue"):
        if not 0 < getattr(args, name) < math.inf:
            raise UserError(f"--{name.replace('_', '-')} must be a number above 0.")
    if args.max_in_flight is None:
        args.max_in_flight = max(256, args.max_body)
    if not args.max_body <= args.max_in_flight < math.inf:
        raise UserError(
            f"--max-in-flight is {args.max_in_flight:g}: it must be at least --max-body "
            f"({args.max_body:g}), for one request."
        )
    if not 0 <= args.max_wait < math.inf or args.max_per_client < 0:
        raise UserError("--max-wait and --max-per-client must be at least 0.")
    chosen = model_option.choose(args)
    from classifier.web.server import listening

    with listening(args.host, args.port) as listener, _prepared(chosen) as prepared:
        _serve(args, chosen, prepared, listener)
    return 0


@contextmanager
def _prepared(chosen: model_option.ChosenModel) -> Iterator[Path]:
    """A folder with the test images that the page offers: those of the model's own revision."""
    place = "data/prepared"
    if chosen.revision is None:
        yield Path(place)
        return
    with TemporaryDirectory() as folder:
        try:
            for pattern in ("test*", "meta.json"):  # without the latter, there is nothing to show
                chosen.revision.link(place, pattern, Path(folder))
        except UserError as error:
            print(f"The page shows no test images: {error}", file=sys.stderr)
        yield Path(folder)


def _serve(
    args: argparse.Namespace,
    chosen: model_option.ChosenModel,
    prepared: Path,
    listener: socket.socket,
) -> None:
    from classifier.inference.neighbors import training_images
    from classifier.inference.open_predictor import open_predictor
    from classifier.serve.app import create_app
    from classifier.serve.examples import examples
    from classifier.serve.limits import Limits
    from classifier.serve.metrics import Metrics
    from classifier.serve.service import Service
    from classifier.web import server
    from classifier.web.hosts import own_names

    body, in_flight = int(args.max_body * 2**20), int(args.max_in_flight * 2**20)
    limits = Limits(
        body_bytes=body,
        in_flight_bytes=in_flight,
        client_bytes=max(body, in_flight // 2) if args.max_per_client else 0,
        pixels=args.max_pixels,
        files=args.max_files,
        queue=args.max_queue,
        per_client=args.max_per_client,
        batch=args.max_batch,
        wait_seconds=args.max_wait / 1000,
    )
    names = own_names(args.host, args.allowed_host)
    predictor = open_predictor(chosen.path, args.backend, decision=chosen.decision)
    metrics = chosen.metrics or getattr(predictor, "metrics", {})
    known = training_images(predictor)
    service = Service(predictor, limits, Metrics(), None if isinstance(known, str) else known)
    shown = examples(prepared, predictor.spec)
    app = create_app(service, shown, chosen.name, metrics, names)
    host, port = listener.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    listener.listen()  # whoever reads the address may connect at once
    print(f"{chosen.name} on {predictor.backend}: http://{address}:{port} (Ctrl-C stops)")
    if not ipaddress.ip_address(host).is_loopback:
        print(f"Goes by {', '.join(names)} and its addresses; --allowed-host adds other names.")
    sys.stdout.flush()
    server.run(app, listener, service.say_stopping)
