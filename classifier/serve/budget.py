"""Memory that request bodies share: there is no more of it, however many clients send."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from classifier.serve.limits import RefusedError


class Budget:
    """Bytes of all request bodies that may be held at the same time."""

    def __init__(self, most: int, held: Gauge) -> None:
        """Allow ``most`` bytes; ``held`` is told how many are taken."""
        self._most, self._gauge = most, held
        self._held = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A function that takes bytes; at the end of the block all of them are given back.

        Bytes are taken as they come, not as announced: a client that announces much and sends
        nothing takes nothing from others.

        The function raises RefusedError 503 where the budget is spent.
        """
        own = 0

        def take(size: int) -> None:
            nonlocal own
            if self._held + size > self._most:
                raise RefusedError(
                    503, "The server is busy with other uploads: try again in a moment."
                )
            own += size
            self._change(size)

        try:
            yield take
        finally:
            self._change(-own)

    def _change(self, size: int) -> None:
        self._held += size
        self._gauge.set(self._held)
