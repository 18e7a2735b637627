"""Requests that come in together go through the network together.

One call of the network costs almost as much for one picture as for a few dozen. While it computes,
pictures gather in a queue; the next call takes them all.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import numpy as np

from classifier.core.types import Float32Array, UInt8Array

Result = TypeVar("Result")


class Batcher:
    """Gathers pictures of many callers into calls of ``answer``, one call at a time.

    Only one thread computes: two calls at once would share the same cores, and the network's
    library is not asked to bear it.
    """

    def __init__(
        self,
        answer: Callable[[UInt8Array], Float32Array],
        batch: int,
        wait_seconds: float,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Take ``answer``: [N, S, S, C] -> [N, D]; ``observe`` is told the size of each call."""
        self._answer = answer
        self._batch = batch
        self._wait = wait_seconds
        self._observe = observe
        self._waiting: asyncio.Queue[tuple[UInt8Array, asyncio.Future[Float32Array]]] = (
            asyncio.Queue()
        )
        self._patience = asyncio.Timeout(None)  # of the batch that waits for more pictures
        self._thread = ThreadPoolExecutor(1, "network")
        self._gatherer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to compute; in the event loop that callers use."""
        self._gatherer = asyncio.create_task(self._gather())

    def hurry(self) -> None:
        """Wait for no other pictures any more."""
        self._wait = 0.0
        with suppress(RuntimeError):  # no batch waits
            self._patience.reschedule(0.0)

    async def stop(self) -> None:
        """Stop once every picture that was accepted is answered."""
        self.hurry()
        await self._waiting.join()
        if self._gatherer:
            self._gatherer.cancel()
            with suppress(asyncio.CancelledError):
                await self._gatherer
        self._thread.shutdown()

    async def ask(self, picture: UInt8Array) -> Float32Array:
        """[D] of one picture [S, S, C]."""
        future: asyncio.Future[Float32Array] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((picture, future))
        return await future

    async def alone(self, function: Callable[[], Result]) -> Result:
        """Run something else in the thread that computes, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def _gather(self) -> None:
        while True:
            parts = [await self._waiting.get()]
            taken = 1
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._wait) as self._patience:
                        while len(parts) < self._batch:
                            parts.append(await self._waiting.get())
                            taken += 1
                # Whoever has hung up meanwhile needs no answer.
                parts = [part for part in parts if not part[1].done()]
                if parts:
                    await self._compute(parts)
            finally:
                for _ in range(taken):
                    self._waiting.task_done()

    async def _compute(
        self, parts: list[tuple[UInt8Array, "asyncio.Future[Float32Array]"]]
    ) -> None:
        self._observe(len(parts))
        pictures = np.stack([picture for picture, _ in parts])
        try:
            found = await self.alone(lambda: self._answer(pictures))
        except Exception as error:  # each caller gets it, and the next batch is tried
            for _, future in parts:
                if not future.done():
                    future.set_exception(error)
            return
        for row, (_, future) in enumerate(parts):
            if not future.done():
                future.set_result(found[row])
