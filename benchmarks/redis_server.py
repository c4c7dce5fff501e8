"""The Redis of a run: the one of REDIS_URL, or a server that runs only for the measurements."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ports import free_port

from .servers import LOCALHOST, LeftOut, Server

_START_SECONDS = 10.0


class Redis(Server):
    """One Redis database that was empty before; each measurement begins with an empty one."""

    kind = "redis"

    def __init__(self, url: str) -> None:
        import redis

        self.url = url
        self.connection: Any = redis.Redis.from_url(url)
        try:
            keys = self.connection.dbsize()
        except redis.RedisError as error:
            raise LeftOut(f"Redis: left out, none answers at {url} ({error})") from None
        if keys:
            raise LeftOut(
                f"Redis: left out, the database of REDIS_URL holds {keys} keys; name an empty "
                "one, it is flushed between measurements"
            )

    def reset(self) -> None:
        self.connection.flushdb()

    def facts(self) -> str:
        return f"Redis {self.connection.info('server')['redis_version']}"

    def close(self) -> None:
        self.reset()
        self.connection.close()


@contextlib.contextmanager
def open_redis(folder: Path) -> Iterator[Redis]:
    """Yield an empty Redis database, emptied at the end; or raise :class:`LeftOut`."""
    try:
        import redis  # noqa: F401 (only whether it is there)
    except ImportError:
        raise LeftOut("Redis: left out, install celery[redis] to measure what uses it") from None
    with contextlib.ExitStack() as stack:
        made = Redis(os.environ.get("REDIS_URL") or stack.enter_context(_own(folder)))
        stack.callback(made.close)
        yield made


@contextlib.contextmanager
def _own(folder: Path) -> Iterator[str]:
    """Start a server on a free port, yield its URL, and stop it."""
    program = shutil.which("redis-server")
    if program is None:
        raise LeftOut("Redis: left out, no redis-server is installed, and REDIS_URL is not set")
    port = free_port()
    # As Debian's configuration: a snapshot now and then, no append-only file.
    command = [program, "--bind", LOCALHOST, "--port", str(port), "--dir", str(folder)]
    server = subprocess.Popen(command, process_group=0, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        _wait_until_it_listens(server, port)
        yield f"redis://{LOCALHOST}:{port}/0"
    finally:
        server.terminate()
        server.wait()


def _wait_until_it_listens(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((LOCALHOST, port)):
            return
        time.sleep(0.02)
    raise LeftOut(f"Redis: left out, redis-server did not answer at port {port}")
