"""Connections: no client can fill the table of them, nor hold one for ever."""

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from classifier.web.hosts import own_network

# What a slow or silent client is given, in seconds.
HEADER_SECONDS = 5  # until a request begins, that is until its header is whole
READ_SECONDS = 30.0  # until it reads on
CONNECTIONS = 1024
_READ = 16 * 1024  # bytes that are taken from a connection before it is the next one's turn
# Line breaks in a chunked body: h11 takes some 10 µs for each chunk, however small.
_BREAKS, _BYTES_A_BREAK = 1000, 64


class Connection(H11Protocol):
    """uvicorn's own, which waits for ever for the end of a header and for a client that reads.

    A connection more than ``most`` costs the client that has most of them the one that has waited
    longest. ``overdue`` says which ones wait in vain. A body in chunks of a few
    bytes each, which costs far more than it takes to send, is cut off.
    """

    most: int  # set by `limited`

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and make room for it."""
        super().connection_made(transport)
        self.heard = self.since = self.loop.time()  # the latest bytes; the present wait
        self._size = self._breaks = 0  # of the present request
        transport.max_size = _READ  # type: ignore[attr-defined]  # asyncio's own is 256 KiB
        if len(self.connections) > self.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        self.heard = self.loop.time()
        self._size += len(data)
        self._breaks += data.count(b"\r\n")
        if self._breaks > _BREAKS + self._size // _BYTES_A_BREAK and self._chunked():
            self.transport.abort()
        else:
            super().data_received(data)

    def _chunked(self) -> bool:
        return not self.idle and any(name == b"transfer-encoding" for name, _ in self.headers)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self.since = self.loop.time()
        self._size = self._breaks = 0
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        self.since = self.loop.time()
        super().pause_writing()

    @property
    def idle(self) -> bool:
        """Whether no request has begun, or the next one has not."""
        return self.cycle is None or self.cycle.response_complete

    def overdue(self) -> bool:
        """Whether the client has kept the server waiting for longer than it may.

        A body that does not end is the application's to refuse.
        """
        waited = self.loop.time() - self.since
        return waited > (
            READ_SECONDS if self.flow.write_paused else HEADER_SECONDS if self.idle else waited
        )

    def _make_room(self) -> None:
        """Close the connection that is missed least: of the client that has most of them.

        This one counts among those that wait, for a client whose others are all at work must not
        take the place of somebody else's.
        """
        others: set[Any] = self.connections - {self}
        present = [other for other in others if not other.transport.is_closing()]
        if len(present) < self.most:
            return
        waiting = [
            other
            for other in present
            if other.idle or other.flow.write_paused or other.cycle.more_body
        ]
        held = Counter(_host(other) for other in (*present, self))
        order = {other: (-held[_host(other)], other.heard) for other in (*waiting, self)}
        min(order, key=lambda other: order[other]).transport.abort()


def limited(most: int) -> type[Connection]:
    """Connections of which there are up to ``most``."""
    return type("LimitedConnection", (Connection,), {"most": most})


async def close_overdue(connections: set[Any]) -> None:
    """Close connections that wait in vain, for ever."""
    while True:
        await asyncio.sleep(1)
        for connection in list(connections):
            if connection.overdue():
                connection.transport.abort()  # `close` would wait for what the client never reads


def _host(connection: Connection) -> str:
    return own_network(connection.client[0]) if connection.client else ""
