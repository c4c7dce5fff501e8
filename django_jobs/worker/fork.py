"""A child process of the supervisor: it takes none of its parent's signals and sessions along."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from django.db import connections

_log = logging.getLogger("django_jobs.worker")

_PR_SET_PDEATHSIG = 1


def fork(target: Callable[[], int], close: Sequence[int]) -> int:
    """Run *target* in a child process; its return value is the exit code. Return the process id.

    The descriptors in *close* are the parent's alone. SIGTERM waits in the child until *target* has
    called :func:`hear_term`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # A child without a handler of its own would take a stop for its parent's, and lose it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        return pid
    code = 1
    try:
        _become_child(parent)
        for descriptor in close:
            os.close(descriptor)
        code = target()
    except BaseException:
        _log.critical("worker process failed", exc_info=True)
    finally:
        _leave(code)


def close_everything() -> None:
    """Close all connections, also those in pools, where a child would find its parent's."""
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        close_pool: Callable[[], None] = getattr(connection, "close_pool", lambda: None)
        close_pool()


def hear_term(handler: Any = signal.SIG_DFL) -> None:
    """Let *handler* have SIGTERM, also one that came since the fork."""
    signal.signal(signal.SIGTERM, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def _become_child(parent: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    for connection in connections.all(initialized_only=True):
        # Closing it would end the parent's session: drop the reference.
        connection.connection = None
    if sys.platform == "linux":
        # The only way to end a child that is stuck in C code when its supervisor is gone.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        _leave(1)


def _leave(code: int) -> NoReturn:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
