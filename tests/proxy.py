"""A proxy between a worker and its database, which loses or delays answers on command."""

from __future__ import annotations

import contextlib
import copy
import re
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

from django.db import connection, connections

from django_jobs.db import own_connection

_NO_ANSWER_SECONDS = 1.0
_READY_FOR_QUERY = b"Z\0\0\0\5"
# The message with the server's process id, and the key by which a query may be cancelled.
_PROCESS = re.compile(rb"(K\0\0\0\x0c).{4}", re.DOTALL)


class Proxy:
    """Passes bytes on, until :meth:`lose` names the message at which a connection breaks."""

    def __init__(self, *, as_pooler: bool = False) -> None:
        """*as_pooler* tells clients another process id than the server's, as poolers do."""
        self._as_pooler = as_pooler
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._marker, self._when = b"", ""
        # How many messages of clients still pass.
        self._passing: int | None = None
        self._held: tuple[socket.socket, bytes] | None = None
        self._open: list[socket.socket] = [self._listener]
        #: The connection was broken at the message.
        self.lost = threading.Event()
        # The statements that were prepared, by name.
        self._prepared: dict[bytes, bytes] = {}
        self._answers_end = _READY_FOR_QUERY if connection.vendor == "postgresql" else b""
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, marker: str, when: str) -> None:
        """Break the connection at the next message with *marker*.

        *when* says whether the message reaches the server: "before" it never does, "after" the
        server has answered, "late" it does when :meth:`deliver` is called.
        """
        self.lost.clear()
        self._marker, self._when = marker.encode(), when

    def lose_after(self, messages: int, when: str) -> None:
        """Break the connection at the message that follows so many others; see :meth:`lose`."""
        self.lost.clear()
        self._passing, self._when = messages, when

    def relent(self) -> None:
        """Break no connection any more."""
        self._passing, self._marker = None, b""

    def deliver(self) -> None:
        """Let the server have the message that was held, and wait until it is done with it."""
        assert self._held is not None
        (server, message), self._held = self._held, None
        self._ask(server, message)
        server.close()

    def close(self) -> None:
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = _database()
                self._open += [client, server]
                threading.Thread(target=self._relay, args=(client, server), daemon=True).start()

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 20)
                    if source is client and self._is_marked(data):
                        self._lose(data, client, server)
                        return
                    if not data:
                        raise OSError("one of the two is gone")
                    if source is server and self._as_pooler:
                        data = _PROCESS.sub(lambda found: found[1] + bytes(4), data)
                    (server if source is client else client).sendall(data)
        client.close()
        server.close()

    def _is_marked(self, message: bytes) -> bool:
        if self._passing is not None and message:
            self._passing -= 1
            return self._passing < 0
        message = self._executed(message) if self._answers_end else message
        if self._marker == b"COMMIT":  # and no READ COMMITTED
            return message.rstrip(b"\0").endswith(self._marker)
        return bool(self._marker) and self._marker in message

    def _executed(self, message: bytes) -> bytes:
        """Return what is executed: with the text of a prepared statement, and no mere Parse."""
        kinds, executed, at = b"", message, 0
        while at + 5 <= len(message) and message[at : at + 1] in b"PBDESCH":
            kind, end = message[at : at + 1], at + 1 + int.from_bytes(message[at + 1 : at + 5])
            first, second, *_ = (message[at + 5 : end] + b"\0").split(b"\0")
            if kind == b"P":
                self._prepared[first] = second
            elif kind == b"B":
                executed += self._prepared.get(second, b"")
            kinds, at = kinds + kind, end
        return b"" if b"P" in kinds and b"B" not in kinds else executed

    def _lose(self, message: bytes, client: socket.socket, server: socket.socket) -> None:
        self.relent()
        if self._when == "late":
            self._held = server, message
        else:
            if self._when == "after":
                self._ask(server, message)
            server.close()
        self.lost.set()
        client.close()

    def _ask(self, server: socket.socket, message: bytes) -> None:
        server.sendall(message)
        # A part of a pipeline has no answer of its own.
        server.settimeout(_NO_ANSWER_SECONDS)
        with contextlib.suppress(TimeoutError):
            answer = part = server.recv(1 << 20)
            while part and answer[-6:-1] != self._answers_end and self._answers_end:
                answer += (part := server.recv(1 << 20))


@contextlib.contextmanager
def through(proxy: Proxy) -> Iterator[None]:
    """Let this thread's bookkeeping go through *proxy*, as a worker's thread has it."""
    direct = connections["default"]
    own = own_connection("default")
    own.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(proxy.port)}
    if own.vendor == "postgresql":
        own.settings_dict["OPTIONS"] |= {"sslmode": "disable", "gssencmode": "disable"}
    try:
        yield
    finally:
        with contextlib.suppress(Exception):
            own.close()
        connections["default"] = direct


def _database() -> socket.socket:
    """Connect to the server of the database under test."""
    settings: Any = copy.copy(connection.get_connection_params())
    host = settings.get("unix_socket") or settings.get("host") or "127.0.0.1"
    port = int(settings.get("port") or (5432 if connection.vendor == "postgresql" else 3306))
    if host.startswith("/"):
        path = f"{host}/.s.PGSQL.{port}" if connection.vendor == "postgresql" else host
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
        return server
    return socket.create_connection((host, port))
