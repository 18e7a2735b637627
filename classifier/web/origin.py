"""Requests that change something come from the server's own page, and from nowhere else.

A page of another site may send a form to this machine. Its browser names that site in the header
Origin, and lets it neither read this server's answers, where the token is, nor send headers of its
own.
"""

import secrets

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN = "x-page-token"  # the header  # noqa: S105
_HARMLESS = ("GET", "HEAD", "OPTIONS")


class OwnOrigin:
    """ASGI middleware: answers 403 to what would change something and does not come from us."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Wrap ``app``; its page sends ``token`` with whatever changes something."""
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] == "http" and scope["method"] not in _HARMLESS:
            headers = Headers(scope=scope)
            own = headers.get("origin") == f"http://{headers.get('host')}"
            if not own or not secrets.compare_digest(
                headers.get(TOKEN, "").encode(), self._token.encode()
            ):
                words = "Only this server's own page may change something: load it again."
                await JSONResponse({"detail": words}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)
