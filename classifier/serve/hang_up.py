"""Clients that hang up before they are answered: nothing is computed for them any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

Result = TypeVar("Result")


async def unless_gone(request: Request, answer: Coroutine[Any, Any, Result]) -> Result:
    """What ``answer`` returns or raises; it is canceled once the client has hung up.

    The body of the request has to be read already.

    Raises:
        ClientDisconnect: the client hung up first.
    """
    working = asyncio.create_task(answer)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
