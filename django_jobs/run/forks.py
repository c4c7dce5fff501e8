"""Keeps a child that a job forks from being a second worker with its parent's sessions."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
import weakref
from typing import Any, NoReturn

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ..db.descriptor import descriptor_of
from ..define.batch import jobs_of
from ..define.current import running
from ..define.sensitive import secrets_of
from ..failure import describe

_log = logging.getLogger("django_jobs.worker")

#: Rises in every forked child of a process that runs jobs, so that code can tell whether it runs
#: in the process in which it began.
generation = 0

_PR_SET_PDEATHSIG = 1
# Windows lacks most of them, and has no fork.
_NAMES = ("SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGALRM", "SIGCHLD")
_DEFAULTS: dict[signal.Signals, Any] = {
    **{getattr(signal, name): signal.SIG_DFL for name in _NAMES if hasattr(signal, name)},
    signal.SIGINT: signal.default_int_handler,
}
# A lock that another thread of the parent held at the fork is never free in the child.
_LEAVE_SECONDS = 5


class _Guard:
    """The process that runs jobs, and the objects that its children must release."""

    pid = 0
    jobs_only = False
    registered = False
    wrappers: weakref.WeakValueDictionary[int, BaseDatabaseWrapper] = weakref.WeakValueDictionary()


class _Fork(threading.local):
    """One thread's fork, while it is under way."""

    mask: set[int]
    in_main_thread: bool
    #: The child becomes a process with signal handlers and sessions of its own.
    is_guarded: bool
    #: The drivers' connections. In a child they are never closed or freed: that would end the
    #: parent's sessions.
    held: list[Any]


_fork = _Fork()


def guard(*, jobs_only: bool = False) -> None:
    """Prepare this process, before it runs jobs, for the children that jobs may fork.

    With *jobs_only* a child that other code forks, such as a web request, keeps its signal handlers
    and the sessions of its thread.
    """
    _Guard.pid, _Guard.jobs_only = os.getpid(), jobs_only
    if not _Guard.registered:
        _Guard.registered = True
        connection_created.connect(_remember, dispatch_uid="django_jobs.run.forks")
        for connection in connections.all(initialized_only=True):
            _remember(connection)
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_become_a_child)


def leave(error: BaseException | None) -> NoReturn:
    """End a forked child that has returned from the body in which it was forked."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LEAVE_SECONDS)
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    context = running.get()
    trace = ""
    if error is not None and not isinstance(error, SystemExit):
        # The exception itself may quote the job's arguments, so no handler gets it.
        jobs = jobs_of(context) if context else ()
        trace = "\n" + describe(error, secrets_of(*jobs, has_taken=True)).traceback
    _log.warning(
        "a forked child left the job's body and ends pid=%d code=%d name=%s id=%s%s",
        os.getpid(),
        code,
        context.name if context else "-",
        context.request.id if context else "-",
        trace.rstrip("\n"),
    )
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


def die_with_parent(parent: int, number: int | None = None) -> None:
    """Let the kernel end this process when its parent's thread ends, where it can.

    It sends the signal *number*, by default SIGKILL.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number or signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _remember(connection: BaseDatabaseWrapper, **_: Any) -> None:
    _Guard.wrappers[id(connection)] = connection


def _hold() -> None:
    # Otherwise an early signal would meet the parent's handlers in the child, and be lost.
    _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _DEFAULTS)
    # In the child the other threads are gone, and with them their references.
    wrappers = [reference() for reference in _Guard.wrappers.valuerefs()]
    _fork.is_guarded = not _Guard.jobs_only or running.get() is not None
    kept = [] if _fork.is_guarded else connections.all(initialized_only=True)
    _fork.held = [
        one.connection for one in wrappers if one is not None and one.connection and one not in kept
    ]
    # Of a greenlet, threading would say that it is another thread.
    _fork.in_main_thread = threading.get_native_id() == threading.main_thread().native_id


def _let_go() -> None:
    _fork.held = []
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


def _become_a_child() -> None:
    global generation
    generation += 1
    parent, _Guard.pid = _Guard.pid, 0
    if parent:  # else it is the fork of a fork, and has handlers and sessions of its own
        if _fork.is_guarded:
            _reset_signals()
            _forget_sessions()
        _end_sessions()
        if _fork.is_guarded and _fork.in_main_thread:
            die_with_parent(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    faulthandler.unregister(signal.SIGUSR1)
    for number, handler in _DEFAULTS.items():
        signal.signal(number, handler)


def _forget_sessions() -> None:
    for connection in connections.all(initialized_only=True):
        # The next use of the alias opens a session of the child's own.
        del connections[connection.alias]
        pools = getattr(connection, "_connection_pools", None)
        if pools:
            _fork.held.append(dict(pools))
            pools.clear()


def _end_sessions() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for raw in _fork.held:
        # The driver must not write to the server any more, and a session whose parent
        # is gone must end.
        with contextlib.suppress(Exception):
            os.dup2(nowhere, descriptor_of(raw), inheritable=False)
    os.close(nowhere)
