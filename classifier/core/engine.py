"""Where pieces of work run: on this machine, or on a Ray cluster that the environment names.

CLASSIFIER_ENGINE=ray asks for Ray, and RAY_ADDRESS names a running cluster; without it, Ray takes
the cores of this machine. Neither is a parameter: another cluster makes no stage stale and changes
no byte.

Every node has to see the project at the same path, as on a shared file system: the workers import
its code there, read its data and write their parts of the outputs.
"""

import importlib.util
import logging
import os
import platform
import signal
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from classifier.core.errors import UserError, not_installed
from classifier.core.process import run_dir

Piece = TypeVar("Piece")
Result = TypeVar("Result")

ENGINE, ADDRESS = "CLASSIFIER_ENGINE", "RAY_ADDRESS"
AHEAD = 3  # pieces waiting or finished per worker: enough that none of them idles
_TRIES_MORE = 5  # of a piece whose node or process died


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_ray() -> bool:
    """Whether the environment asks for Ray.

    Raises:
        UserError: it asks for another engine, or Ray is not installed.
    """
    name = os.environ.get(ENGINE) or "local"
    if name not in ("local", "ray"):
        raise UserError(f"{ENGINE} is {name!r}: give ray, or local for this machine alone.")
    if name == "ray" and importlib.util.find_spec("ray") is None:
        raise not_installed("ray", "ray")
    return name == "ray"


def connect() -> None:
    """Join the cluster that the environment names, or start one that ends with this process.

    Raises:
        UserError: no cluster answers, its versions differ, or Ray does not start on this machine.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read at import
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get(ADDRESS) or "local"
    if address != "local":
        _check_reached(address)
    own = {"num_cpus": cores(), "include_dashboard": False} if address == "local" else {}
    # What Ray says of itself goes to its log files; what concerns the user is said in our words.
    ray._private.worker._worker_logs_enabled = False
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:  # a node that takes more than 30 s to start is Ray's plain Exception
        reason = " ".join(str(error).split())
        what = "start Ray here" if address == "local" else f"join a Ray cluster at {address}"
        raise UserError(f"{ADDRESS}: cannot {what}: {reason}") from None
    # Ray's own handler prints a stack and aborts, so that nothing would be tidied up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _check_reached(address: str) -> None:
    # Ray itself tries for a minute, and tells of every try.
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError):
        raise UserError(
            f"{ADDRESS}: no Ray cluster answers at {address}: give host:port of its head node, as "
            "ray start --head prints it."
        ) from None


def ray_map(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], cpus: int = 1, gpu: bool = False
) -> Iterator[Result]:
    """Yield ``function(piece)`` for each piece, in the order of ``pieces``, from Ray's workers.

    A few pieces for each worker that the cluster has room for are under way at a time. A piece
    whose node dies is done again on another, so a piece that writes has to write whole files with
    the same bytes.

    Args:
        cpus: that a piece keeps busy; if no node has as many, those of the largest.
        gpu: whether it wants a GPU for itself, if the cluster has any.

    Raises:
        UserError: that of a piece; or Ray lost one again and again, or a node does not see the
            project's folder.
    """
    connect()
    import ray
    from ray.exceptions import RayError, RayTaskError

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": min(cpus, max(1, *(int(node.get("CPU", 0)) for node in nodes)))}
    if gpu and any("GPU" in node for node in nodes):
        wanted["GPU"] = 1
    task = ray.remote(
        num_cpus=wanted["CPU"], num_gpus=wanted.get("GPU", 0), max_retries=_TRIES_MORE
    )(in_folder)
    under_way: deque[Any] = deque()

    def first() -> Result:
        try:
            return ray.get(under_way.popleft())
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise error.cause from error
        except RayError as error:
            raise UserError(
                f"Ray gave up a piece of the work ({type(error).__name__}), most often because "
                "memory ran out: start the nodes with a smaller --num-cpus, and run again."
            ) from None

    run_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=run_dir(), prefix="seen-by-all-nodes-") as witness:
        try:
            for piece in pieces:
                there = ray.cluster_resources()  # asked each time, for nodes come and go
                room = min(int(there.get(name, 0)) // each for name, each in wanted.items())
                while len(under_way) >= AHEAD * max(1, room):
                    yield first()
                under_way.append(task.remote(Path.cwd(), Path(witness.name), function, piece))
            while under_way:
                yield first()
        except KeyboardInterrupt:
            ray.shutdown()  # ends the workers without a word; to cancel their tasks says much
            under_way.clear()
            raise
        finally:
            for reference in under_way:
                ray.cancel(reference)


def in_folder(
    folder: Path, witness: Path, function: Callable[[Piece], Result], piece: Piece
) -> Result:
    """Runs in a worker: what ``function`` does in the project's folder.

    Raises:
        UserError: the node does not see the folder, or sees another one, without ``witness``.
    """
    try:
        os.chdir(folder)
        witness.stat()
    except OSError:
        raise UserError(
            f"the node {platform.node()} does not see {folder} of the node that started the "
            "work: put the project on a file system that all nodes mount at one path."
        ) from None
    return function(piece)
