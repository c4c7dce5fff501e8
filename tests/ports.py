"""A free port for a server that a test starts."""

from __future__ import annotations

import random
import socket

# Below those that the system gives to a connection, or to a server that asks for any: one of these
# could have the port before the server of the test binds it.
_FIRST, _LAST = 10_000, 30_000


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    # Suites that run side by side, and tests that set a seed, look at different ports.
    for port in random.SystemRandom().sample(range(_FIRST, _LAST), 100):
        with socket.socket() as probe:
            # As servers do: the last connections of an earlier server do not matter.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST}")
