"""The names that the server goes by.

A web page elsewhere may point a name of its own at this machine and then read the answers as if
they were its own ("DNS rebinding"). Its requests carry that name in their Host header.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import Receive, Scope, Send

from classifier.core.errors import UserError

_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::\d*)?")


class OwnNames(TrustedHostMiddleware):
    """Answers 400 to a name that is not the server's. Addresses are always right: they cannot be
    rebound, and behind a container's mapped port the server does not know them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] == "http" and _is_address(Headers(scope=scope).get("host")):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def own_names(host: str, others: Iterable[str] = ()) -> list[str]:
    """What a server on ``host`` goes by: localhost, the machine's name, ``host`` and ``others``.

    Raises:
        UserError: one of ``others`` is neither a name, ``*.name`` nor ``*``.
    """
    for name in others:
        if not re.fullmatch(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*", name):
            raise UserError(
                f"--allowed-host {name}: give a name without scheme and port, such as "
                "example.org; *.example.org for all names below it; or * for any."
            )
    return list(dict.fromkeys(["localhost", socket.gethostname(), host, *others]))


def _is_address(host: str | None) -> bool:
    if host is None:  # HTTP/1.0, which no browser speaks; some health checks do
        return True
    parts = _HOST.fullmatch(host)
    try:
        ipaddress.ip_address((parts[1] or parts[2]) if parts else "")
    except ValueError:
        return False
    return True
