"""What every request passes: it is counted on its way in, and gets headers on its way out."""

import asyncio
import time
from collections.abc import Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classifier.serve.metrics import Metrics

# Nothing may come from, or be sent to, another host; pictures and the camera stay in the page.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
_ENCODED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Gate:
    """ASGI middleware: security headers, and counters by path and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        """Wrap ``app``; requests for other than ``paths`` are counted together, as "other"."""
        self._app, self._metrics, self._paths = app, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = time.perf_counter()
        path = scope["path"] if scope["path"] in self._paths else "other"
        status = 499  # the client hung up before there was an answer

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_ENCODED]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:  # by the server: this request took longer than its stop
            if status == 499:
                words = "The server is stopping: try again in a moment."
                closing = {"connection": "close", "retry-after": "1"}
                await JSONResponse({"detail": words}, 503, closing)(scope, receive, sending)
        except Exception:
            status = 500
            raise
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
        return None
