"""The process around the application: uvicorn, told not to wait for ever."""

import asyncio
import logging
import signal
import socket
import warnings
from typing import Any

import uvicorn
from fastapi import FastAPI

from classifier.core.errors import UserError

# What a slow or silent client is given, in seconds.
HEADER_SECONDS = 5  # until a request begins; up to twice as long until that is noticed
STOP_SECONDS = 10  # for answers under way when the server is told to stop
CONNECTIONS = 1024
_HEADER_BYTES = 16 * 1024
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


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM; requests under way are answered first."""
    # What is wrong with an upload is told to whoever sent it; the log is not theirs to fill.
    for library in ("PIL", "python_multipart"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").addFilter(_no_news)
    warnings.simplefilter("ignore")
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        headers=list(_SECURITY.items()),
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=HEADER_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    # uvicorn raises the signal again once it has stopped; SIGTERM, then, is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    asyncio.run(_serve(uvicorn.Server(config), listener))


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    closing = asyncio.create_task(_close_silent(server))
    await server.serve(sockets=[listener])
    closing.cancel()


async def _close_silent(server: uvicorn.Server) -> None:
    """Close connections on which no request has begun for HEADER_SECONDS, or up to twice as long.

    uvicorn itself waits for ever for the end of a header, and each such client holds one of
    CONNECTIONS.
    """
    before: dict[Any, Any] = {}  # the latest request of each connection
    while True:
        await asyncio.sleep(HEADER_SECONDS)
        connections: set[Any] = server.server_state.connections
        latest = {connection: connection.cycle for connection in connections}
        for connection, request in latest.items():
            waiting = request is None or request.response_complete
            if waiting and connection in before and before[connection] is request:
                connection.transport.close()
        before = latest


def _no_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Invalid HTTP request", "Unsupported upgrade"))
