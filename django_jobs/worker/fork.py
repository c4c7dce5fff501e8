"""Child processes of the supervisor: they inherit neither its signals nor its sessions."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from django.db import connections

from ..define import instrumentation
from ..process import native
from ..run.forks import die_with_parent

_log = logging.getLogger("django_jobs.worker")

_PR_GET_CHILD_SUBREAPER = 37
# macOS has no waitid() before Python 3.13.
_CAN_LOOK = hasattr(os, "waitid")
_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT if _CAN_LOOK else 0


def fork(target: Callable[[], int], close: Sequence[int]) -> int:
    """Run *target* in a child process, with its return value as exit code; return the pid.

    The child closes the descriptors *close*. SIGTERM is blocked in the child until *target* calls
    :func:`hear_term`. Raises ``OSError`` when the system has no room for a process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # Before the child has a handler of its own, the parent's handler would swallow a stop.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    pid = -1
    try:
        # gevent's own forks and waits need its event loop, which a supervisor does not have.
        pid = int(native.original("os", "fork")())
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if pid:
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
        leave(code)


def close_everything() -> None:
    """Close all database connections, also those in pools: a child must not share them."""
    connections.close_all()
    for connection in connections.all(initialized_only=True):
        close_pool: Callable[[], None] = getattr(connection, "close_pool", lambda: None)
        close_pool()


def hear_term(handler: Any = signal.SIG_DFL) -> None:
    """Set *handler* for SIGTERM, and deliver one that came since the fork."""
    signal.signal(signal.SIGTERM, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a child and to the processes that its jobs started in its group."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:  # the child has no group of its own yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def reap(pid: int) -> int | None:
    """Return the exit code of a child that has ended, and kill the rest of its group.

    None while the child runs.
    """
    try:
        if _CAN_LOOK and os.waitid(os.P_PID, pid, _LOOK) is None:
            return None
        if _CAN_LOOK:  # while the child is a zombie, no other group can have its number
            _end_group(pid)
        ended, status = native.original("os", "waitpid")(pid, os.WNOHANG)
    except ChildProcessError:  # the project's code has waited for the child
        return 0
    if not ended:
        return None
    if not _CAN_LOOK:
        _end_group(pid)
    return os.waitstatus_to_exitcode(status)


def reap_orphans(known: Collection[int]) -> None:
    """Reap orphaned processes, which a container leaves to its process 1."""
    if not _CAN_LOOK or (os.getpid() != 1 and not _is_subreaper()):
        return
    with contextlib.suppress(ChildProcessError):
        while found := os.waitid(os.P_ALL, 0, _LOOK):
            if found.si_pid in known:
                return
            native.original("os", "waitpid")(found.si_pid, 0)


def _end_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _is_subreaper() -> bool:
    if sys.platform != "linux":
        return False
    flag = ctypes.c_int(0)
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag), 0, 0, 0)
    return bool(flag.value)


def ignore_stops() -> None:
    """Ignore stop signals from now on: an interpreter that ends drops its handlers first."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _become_child(parent: int) -> None:
    signal.set_wakeup_fd(-1)
    native.after_fork()
    # The child's group can be killed as one. In a session of its own the child can still read the
    # terminal, as a debugger does, and Ctrl-C reaches the parent only.
    os.setsid()
    # Programs that a job starts inherit ignored signals, but not handled ones.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, _do_nothing)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    for connection in connections.all(initialized_only=True):
        # Closing the connection would end the parent's session, so only the reference goes.
        connection.connection = None
    # Nothing else ends a child that is stuck in C code when its supervisor is gone.
    die_with_parent(parent)
    for tracer in instrumentation.instrumentations:
        tracer.process_begins()


def _do_nothing(number: int, frame: Any) -> None:
    """Take a signal that is meant for the supervisor."""


def leave(code: int) -> NoReturn:
    """End this process without waiting for the threads that jobs have left."""
    for tracer in instrumentation.instrumentations:
        tracer.process_ends()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
