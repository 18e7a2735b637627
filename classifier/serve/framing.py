"""Where requests end: an answer that comes earlier must not be lost, nor be read as another's."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classifier.serve.limits import BODY_SECONDS

_CLOSE = (b"connection", b"close")


class Framing:
    """ASGI middleware: no answer overtakes its request.

    Most clients listen only once they have sent everything. What the application leaves unread, as
    when it refuses a request, is read and thrown away before its answer goes out: for a while and
    up to a size, after which the connection is closed. A request that the server cancels, since it
    outlasts the stop, gets an answer that says so.
    """

    def __init__(self, app: ASGIApp, most: int, last: Callable[[], bool] = lambda: False) -> None:
        """Wrap ``app``; up to ``most`` bytes of a request are read in vain.

        Once ``last`` is true, an answer says that it is the connection's last one.
        """
        self._app, self._most, self._last = app, most, last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        lengths = {b"content-length", b"transfer-encoding"} & headers.keys()
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        # A client that asks before it sends (Expect) is not told to send what nobody reads.
        asked, ended, answered = b"expect" not in headers, not lengths, False

        async def receiving() -> Message:
            nonlocal asked, ended
            asked = True
            message = await receive()
            ended = not message.get("more_body", False)
            return message

        async def sending(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                if not ended:
                    # A body that is no HTTP is answered below us, which is known one turn later.
                    await (drain() if asked else asyncio.sleep(0))
                if not ended or self._last():
                    message["headers"] = [*message["headers"], _CLOSE]
                answered = True
            await send(message)

        async def drain() -> None:
            size = 0
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    while not ended and size <= self._most:
                        size += len((await receiving()).get("body", b""))

        app = self._app
        if len(lengths) > 1:
            # Two programs may disagree on which of them counts, and where the next request begins.
            ended = True
            refusal = "A request has Content-Length or Transfer-Encoding, not both."
            app = JSONResponse({"detail": refusal}, 400, {"connection": "close"})
        try:
            await app(scope, receiving, sending)
        except asyncio.CancelledError:
            if not answered:
                words = "The server is stopping: try again in a moment."
                closing = {"connection": "close", "retry-after": "1"}
                await JSONResponse({"detail": words}, 503, closing)(scope, receive, send)
        return None
