"""A TCP proxy that makes a server far away: all that it forwards arrives later."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

_CHUNK = 1 << 16
_PORTS = {"postgresql": 5432, "redis": 6379, "mysql": 3306}

_Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.contextmanager
def far(url: str, seconds: float) -> Iterator[str]:
    """Yield a URL that leads to the server of *url*, *seconds* away in each direction."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(coroutine: Coroutine[None, None, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    proxy = _Proxy(url, seconds)
    try:
        yield proxied(url, run(proxy.start()))
    finally:
        run(proxy.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def proxied(url: str, port: int) -> str:
    """Return *url* with this host and *port*, in place of its own or of a Unix socket."""
    parts = urlsplit(url)
    account = f"{parts.username or ''}:{parts.password or ''}@" if "@" in parts.netloc else ""
    query = "&".join(each for each in parts.query.split("&") if not each.startswith("host="))
    return urlunsplit(parts._replace(netloc=f"{account}127.0.0.1:{port}", query=query))


class _Proxy:
    def __init__(self, url: str, seconds: float) -> None:
        self.url = url
        self.seconds = seconds
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await self._connect()
        for source, target in ((reader, to_server[1]), (to_server[0], writer)):
            task = asyncio.create_task(_forward(source, target, self.seconds))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _connect(self) -> _Pipe:
        parts = urlsplit(self.url)
        folder = parse_qs(parts.query).get("host", [""])[0]
        port = parts.port or _PORTS[parts.scheme]
        if folder.startswith("/"):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(parts.hostname or "127.0.0.1", port)


async def _forward(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float
) -> None:
    """Write what *source* sends *seconds* later, in its order and without gaps between chunks."""
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        data = b"begun"
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data = b""
            due.put_nowait((time.monotonic() + seconds, data))

    reading = asyncio.create_task(read())
    try:
        while True:
            at, data = await due.get()
            await asyncio.sleep(at - time.monotonic())
            if not data:
                return
            target.write(data)
    finally:
        reading.cancel()
        target.close()
