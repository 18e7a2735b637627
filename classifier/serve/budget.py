"""Memory that request bodies share: there is no more of it, however many clients send."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from classifier.serve.limits import RefusedError


class Budget:
    """Bytes of all request bodies, and of those of one client, that are held at the same time."""

    def __init__(self, most: int, per_client: int, held: Gauge) -> None:
        """Allow ``most`` bytes, and ``per_client`` (0: no limit); ``held`` is told how many are."""
        self._most, self._per_client, self._gauge = most, per_client, held
        self._held: Counter[str] = Counter()  # by client

    @contextmanager
    def share(self, client: str, announced: int) -> Iterator[Callable[[int], None]]:
        """A function that takes bytes; at the end of the block all of them are given back.

        A body of more bytes than are left is refused before any is read. Bytes are taken as they
        come, not as ``announced``: a client that announces much and sends nothing takes nothing
        from others.

        Raises:
            RefusedError: 429 the client's budget is spent, 503 that of all clients is; by the
                function too.
        """
        own = 0

        def take(size: int) -> None:
            nonlocal own
            self._check(client, size)
            own += size
            self._change(client, size)

        self._check(client, announced)
        try:
            yield take
        finally:
            self._change(client, -own)

    def _check(self, client: str, size: int) -> None:
        own = self._held[client] + size
        if self._per_client and own > self._per_client:
            raise RefusedError(429, "Your other uploads are under way: wait for the answers.")
        if self._held.total() + size > self._most:
            raise RefusedError(503, "The server is busy with other uploads: try again in a moment.")

    def _change(self, client: str, size: int) -> None:
        self._held[client] += size
        if not self._held[client]:
            del self._held[client]
        self._gauge.set(self._held.total())
