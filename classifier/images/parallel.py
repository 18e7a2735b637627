"""Run a function over many pieces of work on all cores, in order, in constant memory."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from classifier.core.engine import AHEAD, Piece, Result, cores, on_ray, ray_map
from classifier.core.errors import UserError

WORTH_PROCESSES = 0.5  # seconds of work; starting processes takes about as long


def ordered_map(
    function: Callable[[Piece], Result], pieces: Iterable[Piece], workers: int = 0
) -> Iterator[Result]:
    """Yield ``function(piece)`` for each piece, in the order of ``pieces``.

    Works in ``workers`` processes (0: one a core), which are started once the work turns out to
    take longer than starting them; with one worker, all is done in this process. Where the
    environment asks for Ray, its cluster takes the place of the processes, however many they are.
    Only a few pieces a worker are under way at a time, so neither a slow consumer nor an endless
    ``pieces`` fills the memory. ``function`` and the pieces must pickle.

    Raises:
        UserError: that of a piece; or the system ended a worker, most often because memory ran
            out; or the engine is not to be had.
    """
    distributed = on_ray() and workers != 1
    workers = workers or cores()
    source = iter(pieces)
    spent = 0.0
    for piece in source:
        started = time.perf_counter()
        result = function(piece)
        spent += time.perf_counter() - started
        yield result
        if (workers > 1 or distributed) and spent > WORTH_PROCESSES:
            break
    else:
        return
    if distributed:
        yield from ray_map(function, source)
        return
    # A forked copy of a process that has threads (OpenMP, tqdm) can hang; a fork server and
    # spawned processes cannot.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context(method), initializer=_belong_to_parent
    )
    under_way: deque[Future[Result]] = deque()
    try:
        for piece in source:
            if len(under_way) >= workers * AHEAD:
                yield under_way.popleft().result()
            under_way.append(pool.submit(function, piece))
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process was ended by the system, most often for lack of memory: "
            "set workers to 1 or free some memory."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _belong_to_parent() -> None:
    # Ctrl-C reaches the whole group; the parent alone says so and stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Of a parent that was killed they would wait for work for ever.
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)
