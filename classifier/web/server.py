"""The process around the application: uvicorn, told not to wait for ever."""

import asyncio
import gc
import logging
import signal
import socket
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from fastapi import FastAPI

from classifier.core.errors import UserError
from classifier.models.buffers import return_freed
from classifier.web.connections import CONNECTIONS, HEADER_SECONDS, close_overdue, limited

# At a stop: for requests of those who have connected before, and then for answers under way.
GRACE_SECONDS, STOP_SECONDS = 1.0, 9
TRIM_SECONDS = 5  # between two returns of freed memory to the system
_HEADER_BYTES = 16 * 1024
_BACKLOG = 128  # connections that wait to be accepted, and are accepted in one go
_OTHER_FILES = 64 + _BACKLOG  # what is open beside CONNECTIONS
# Nothing may come from, or be sent to, another host; pictures and the camera stay in the page.
_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


def listening(host: str, port: int) -> socket.socket:
    """Take a port, on which nobody is answered yet: one in use is known before anything is loaded.

    Raises:
        UserError: the port or the address is not to be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio sends answers at once instead of waiting for the
        # client to acknowledge their header, which takes 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen on {host}:{port} ({reason}): try another --port.") from None
    return listener


def run(app: FastAPI, listener: socket.socket, stopping: Callable[[], None] = lambda: None) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM; requests under way are answered first.

    ``stopping`` is called at the signal, before the last answers.
    """
    # What is wrong with an upload is told to whoever sent it; the log is not theirs to fill.
    for library in ("PIL", "python_multipart"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").addFilter(_no_news)
    warnings.simplefilter("ignore")
    config = uvicorn.Config(
        app,
        http=limited(_connections()),
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        headers=list(_SECURITY.items()),
        backlog=_BACKLOG,
        timeout_keep_alive=HEADER_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    # What is loaded stays: Python need not search it for garbage, nor once more at its end.
    gc.freeze()
    # uvicorn raises the signal again once it has stopped; SIGTERM, then, is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    asyncio.run(_serve(_Server(config, stopping), listener))


class _Server(uvicorn.Server):
    """uvicorn's, which at its stop drops whoever has connected and not yet been heard."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take in who waits at the door, close it, and give them a moment to ask."""
        self._stopping()
        for listener in sockets or []:
            await self._take_in(listener)
        loop = asyncio.get_running_loop()
        end = loop.time() + GRACE_SECONDS
        while self.server_state.connections and loop.time() < end:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    async def _take_in(self, listener: socket.socket) -> None:
        """Accept every connection that the system has made already, then no other.

        Closing the socket with some of them in its queue would reset these.
        """
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        await asyncio.sleep(0.01)  # those that asyncio has accepted get their protocol
        taken: list[socket.socket] = []
        with suppress(BlockingIOError):  # nobody waits any more
            while len(taken) < CONNECTIONS:
                taken.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for connection in taken:
            connection.setblocking(False)
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        made: asyncio.Protocol = protocol(self.config, self.server_state, self.lifespan.state)
        return made


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    tasks = [
        asyncio.create_task(close_overdue(server.server_state.connections)),
        asyncio.create_task(_return_memory(server.server_state)),
    ]
    await server.serve(sockets=[listener])
    for task in tasks:
        task.cancel()


async def _return_memory(state: uvicorn.server.ServerState) -> None:
    """Let the system have back what bursts of requests took, once they are over."""
    answered = 0
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        if state.total_requests != answered:
            answered = state.total_requests
            await asyncio.to_thread(return_freed)


def _connections() -> int:
    """How many connections there may be: CONNECTIONS, if the system allows as many open files."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(16, soft - _OTHER_FILES)
    return CONNECTIONS


def _no_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Invalid HTTP request", "Unsupported upgrade"))
