"""The process around the application: uvicorn, told not to wait for ever."""

import asyncio
import logging
import signal
import socket
import warnings
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from classifier.serve.limits import CONNECTIONS, HEADER_SECONDS, STOP_SECONDS

_HEADER_BYTES = 16 * 1024


class _ImpatientProtocol(H11Protocol):
    """Closes a connection whose request does not get to the end of its header in time.

    uvicorn itself would wait for ever, and each such client holds one of CONNECTIONS. It would also
    let the application answer a request that it has answered itself, since its body is no HTTP.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        if self.cycle and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.close()
            else:
                super().send_400_response(msg)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            super().send_400_response(msg)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._rest()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _rest(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _no_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Invalid HTTP request", "Unsupported upgrade"))


def run(app: FastAPI, listener: socket.socket) -> None:
    """Serve on a bound socket until SIGINT or SIGTERM; requests under way are answered first."""
    # What is wrong with an upload is told to whoever sent it; the log is not theirs to fill.
    for library in ("PIL", "python_multipart"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").addFilter(_no_news)
    warnings.simplefilter("ignore")
    config = uvicorn.Config(
        app,
        http=_ImpatientProtocol,
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
    # uvicorn raises the signal again once it has stopped; SIGTERM, then, is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
