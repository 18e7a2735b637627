"""The names that the server goes by.

A web page elsewhere may point a name of its own at this machine and then read the answers as if
they were its own ("DNS rebinding"). Its requests carry that name in their Host header.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from classifier.core.errors import UserError

_HOST = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::\d*)?")


class OwnNames(TrustedHostMiddleware):
    """Answers 400 to a name that is not the server's, and 403 to pages that are not its own.

    Addresses are always right names: they cannot be rebound, and behind a container's mapped port
    the server does not know them.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if self._is_foreign(headers.get("origin"), headers.get("host", "")):
            words = "Pages of other sites cannot use this server: --allowed-host adds a name."
            await JSONResponse({"detail": words}, 403)(scope, receive, send)
        elif scope["type"] == "http" and _is_address(headers.get("host")):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _is_foreign(self, origin: str | None, host: str) -> bool:
        """Whether a page asks whose address is neither the one asked for nor has an own name.

        The latter is that of a proxy, which may ask by another name than its clients do.
        """
        if origin is None or self.allow_any:
            return False
        try:
            site = urlsplit(origin)
            name = site.hostname or ""
        except ValueError:
            return True
        own = (
            name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))
            for pattern in map(str.lower, self.allowed_hosts)
        )
        return not (name and (site.netloc.lower() == host.lower() or any(own)))


def own_names(host: str, others: Iterable[str] = ()) -> list[str]:
    """What a server on ``host`` goes by: localhost, the machine's name, ``host`` and ``others``.

    A ``host`` that is an address is no name: other ports of it belong to other pages.

    Raises:
        UserError: one of ``others`` is neither a name, ``*.name`` nor ``*``.
    """
    for name in others:
        if not re.fullmatch(r"\*|(\*\.)?[\w-]+(\.[\w-]+)*", name):
            raise UserError(
                f"--allowed-host {name}: give a name without scheme and port, such as "
                "example.org; *.example.org for all names below it; or * for any."
            )
    named = [] if _is_ip(host) else [host]
    return list(dict.fromkeys(["localhost", socket.gethostname(), *named, *others]))


def _is_address(host: str | None) -> bool:
    if host is None:  # HTTP/1.0, which no browser speaks; some health checks do
        return True
    parts = _HOST.fullmatch(host)
    return parts is not None and _is_ip(parts[1] or parts[2])


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def own_network(address: str) -> str:
    """A client by its address; all addresses of an IPv6 network of 64 bits are one subscriber's."""
    try:
        version = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a socket of the file system has none
        return address
    if version.version == 4:
        return address
    return str(ipaddress.ip_network((int(version), 64), strict=False))
