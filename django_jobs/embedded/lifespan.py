"""The lifespan protocol of ASGI, by which a server tells its application of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]


def with_lifespan(application: Application, stop: Callable[[], object]) -> Application:
    """Return *application* with that protocol; *stop* is called, in a thread, at the server's end.

    An application that knows the protocol, as Django's does not, hears of the end after that.
    """

    async def with_worker(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await application(scope, receive, send)
        heard = False

        async def hear() -> Message:
            nonlocal heard
            heard = True
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(stop)
            return message

        try:
            await application(scope, hear, send)
        except Exception:
            if heard:
                raise
            await hear()
            await send({"type": "lifespan.startup.complete"})
            await hear()
            await send({"type": "lifespan.shutdown.complete"})

    return with_worker
