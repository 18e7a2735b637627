"""What an engine for data preparation costs on one machine: Ray, and Dask distributed beside it.

    python benchmarks/engines.py ray|dask      in an environment that has it and psutil

It starts two workers, waits for one task, and then keeps six tasks under way, as
`classifier.images.parallel` does: tasks that do nothing, tasks that are given 4 MiB, tasks that
return 1 MiB. Memory is the sum, over all processes that were started and this one's growth, of
their proportional set sizes (shared pages count once). The sizes of an install are those of
`site-packages` in an environment of its own, with NumPy.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import psutil

TASKS, WINDOW, LARGE = 2000, 6, 100
MEBIBYTE = 1 << 20

Submit = Callable[[Callable[[Any], Any], Any], Any]


def nothing(piece: int) -> int:
    return piece


def length(piece: bytes) -> int:
    return len(piece)


def made(piece: int) -> bytes:
    return bytes(MEBIBYTE)


def milliseconds(
    submit: Submit, get: Callable[[Any], Any], function: Callable[[Any], Any], pieces: Iterable[Any]
) -> float:
    """Wall time of a task, a few of them being under way at a time."""
    waiting: deque[Any] = deque()
    count, started = 0, time.perf_counter()
    for count, piece in enumerate(pieces, 1):  # noqa: B007
        if len(waiting) == WINDOW:
            get(waiting.popleft())
        waiting.append(submit(function, piece))
    while waiting:
        get(waiting.popleft())
    return (time.perf_counter() - started) / count * 1e3


def memory() -> tuple[float, int]:
    """MiB of this process and all below it, and how many those are."""
    here = psutil.Process()
    family = [here, *here.children(recursive=True)]
    return sum(each.memory_full_info().pss for each in family) / MEBIBYTE, len(family) - 1


def ray_engine() -> tuple[Submit, Callable[[Any], Any]]:
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
    remote = cache(ray.remote)
    return (lambda function, piece: remote(function).remote(piece)), ray.get


def dask_engine() -> tuple[Submit, Callable[[Any], Any]]:
    from dask.distributed import Client, LocalCluster

    client = Client(LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None))
    return (lambda function, piece: client.submit(function, piece, pure=False)), (
        lambda future: future.result()
    )


def main(name: str) -> None:
    before, _ = memory()
    started = time.perf_counter()
    submit, get = {"ray": ray_engine, "dask": dask_engine}[name]()
    get(submit(nothing, 0))
    print(f"import, start and a first task: {time.perf_counter() - started:.1f} s")
    milliseconds(submit, get, nothing, range(200))
    print(f"a task: {milliseconds(submit, get, nothing, range(TASKS)):.2f} ms")
    large = (bytes(4 * MEBIBYTE) for _ in range(LARGE))
    print(f"a task that is given 4 MiB: {milliseconds(submit, get, length, large):.1f} ms")
    print(f"a task that returns 1 MiB: {milliseconds(submit, get, made, range(LARGE)):.1f} ms")
    after, processes = memory()
    print(f"memory: {after - before:.0f} MiB in {processes} processes")


if __name__ == "__main__":
    main(sys.argv[1])
