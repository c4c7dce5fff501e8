"""Requests of a worker process to its supervisor, which has no connection to the database."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

from ..process import native

_log = logging.getLogger("django_jobs.worker")

# The supervisor answers soon: it runs no job and waits for no database.
_ANSWER_SECONDS = 5.0
_LARGEST = 65_536


class SupervisorChannel:
    """A pair of sockets, made before the fork. Messages are JSON."""

    def __init__(self) -> None:
        self._child, self._supervisor = native.socketpair(socket.SOCK_DGRAM)
        self._child.settimeout(_ANSWER_SECONDS)
        self._supervisor.setblocking(False)
        self._asked = 0

    def keep_child_end(self) -> None:
        """Close the supervisor's end; the child calls this after the fork."""
        self._supervisor.close()

    def keep_supervisor_end(self) -> None:
        """Close the child's end; the supervisor calls this after the fork."""
        self._child.close()

    # --- the child's end ------------------------------------------------------------------------

    def ask(self, verb: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to the supervisor; return its answer.

        Raises ``ValueError`` when it refuses and ``TimeoutError`` when it does not answer.
        """
        self._asked += 1
        self._child.send(json.dumps([self._asked, verb, arguments]).encode())
        while True:
            number, answer, refusal = json.loads(self._child.recv(_LARGEST))
            if number == self._asked:  # an older answer came too late: its request was given up
                break
        if refusal is not None:
            raise ValueError(refusal)
        return dict(answer)

    # --- the supervisor's end -------------------------------------------------------------------

    def fileno(self) -> int:
        return self._supervisor.fileno()

    def serve(self, execute: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        """Answer all requests that came, with what *execute* returns.

        An error of *execute* is the answer, too; the supervisor goes on.
        """
        while True:
            try:
                number, verb, arguments = json.loads(self._supervisor.recv(_LARGEST))
            except (BlockingIOError, ConnectionError):
                return
            answer, refusal = None, None
            try:
                answer = execute(verb, arguments)
            except ValueError as error:
                refusal = str(error)
            except Exception as error:
                _log.exception("cannot execute command %r", verb)
                refusal = f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):  # the child has ended
                self._supervisor.send(json.dumps([number, answer, refusal]).encode())

    def close(self) -> None:
        self._child.close()
        self._supervisor.close()
