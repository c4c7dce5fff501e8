"""Undoes what a job changed in its process, before the next job starts.

``docs/workers.rst`` has the rules as a table. :mod:`django_jobs.db.attempts` does the same for
database sessions.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import faulthandler
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ..db.attempts import unwatch_connections, watch_connections, watch_this_thread
from .descriptors import Descriptors, DescriptorsKept

_log = logging.getLogger("django_jobs.worker")

# signal.getsignal() looks up an enum member at each call; the C function takes 50 ns.
_getsignal: Callable[[int], Any] = _signal.getsignal

# The signals that the worker needs, and those that timers send.
_SIGNALS = tuple(
    int(number)
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGHUP,
        signal.SIGCHLD,
        signal.SIGPIPE,
        signal.SIGALRM,
        signal.SIGUSR1,
    )
)


class _Touched:
    """Remembers which state of the process its code has changed since it was put back.

    Python tells a hook of it. To read all limits, and to change the directory, after each job would
    cost more than a short job.
    """

    def __init__(self) -> None:
        self.limits = self.folder = False
        self._is_watching = False

    def watch(self) -> None:
        if not self._is_watching:
            self._is_watching = True
            sys.addaudithook(self._hear)

    def _hear(self, event: str, args: Any) -> None:
        if event in ("resource.setrlimit", "resource.prlimit"):
            self.limits = True
        elif event == "os.chdir":
            self.folder = True


_touched = _Touched()


class Isolation:
    """Restores the state of the process after each attempt, as far as the pool wants it.

    When a part cannot restore something it raises an exception, and the process is replaced.
    """

    def __init__(self) -> None:
        self._parts: list[Callable[[], None]] = [Limits().put_back]

    def keep_descriptors(self) -> None:
        """Replace the process when jobs keep most of its descriptors open."""
        self._parts.append(Descriptors().put_back)

    def keep_shared(self) -> None:
        """Ignore alarms, and keep descriptors; for pools whose jobs share a process."""
        ignore_alarms()
        self.keep_descriptors()

    def keep_signals(self) -> None:
        """Restore signal handlers and stop timers; for pools that run jobs in the main thread."""
        self._parts.append(Handlers().put_back)

    def keep_process(self) -> None:
        """Restore the state of the whole process; for pools that run one job at a time."""
        self._parts.append(Process().put_back)

    def end(self) -> str:
        """Restore what the attempt changed; return why the process must be replaced, or ""."""
        try:
            for put_back in self._parts:
                put_back()
        except DescriptorsKept as kept:
            return str(kept)
        except Exception as error:
            return f"what a job changed cannot be put back: {error!r}"
        return ""


class Handlers:
    """The signal handlers at the moment of its creation."""

    def __init__(self) -> None:
        self._kept = list(map(_getsignal, _SIGNALS))

    def put_back(self) -> None:
        if list(map(_getsignal, _SIGNALS)) == self._kept or not _in_main_thread():
            return
        for number, handler in zip(_SIGNALS, self._kept, strict=True):
            if _getsignal(number) == handler:
                continue
            _log.warning(
                "a job left another handler for %s, which is put back", signal.Signals(number).name
            )
            if number == signal.SIGALRM:
                signal.setitimer(signal.ITIMER_REAL, 0)
            # getsignal() returns None for a handler that Python has not set.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
            if number == signal.SIGUSR1:
                dump_stacks_on_usr1()


class Process:
    """Remembers process-wide state at its creation, and restores it after a job."""

    def __init__(self) -> None:
        _touched.watch()
        self._folder = os.open(".", os.O_RDONLY)
        self._timeout = socket.getdefaulttimeout()
        self._stdout, self._stderr = sys.stdout, sys.stderr
        self._collects, self._depth = gc.isenabled(), sys.getrecursionlimit()

    def put_back(self) -> None:
        if _touched.folder:
            os.fchdir(self._folder)
            _touched.folder = False
        if socket.getdefaulttimeout() != self._timeout:
            socket.setdefaulttimeout(self._timeout)
        if sys.stdout is not self._stdout or sys.stderr is not self._stderr:
            sys.stdout, sys.stderr = self._stdout, self._stderr
        if gc.isenabled() != self._collects:
            (gc.enable if self._collects else gc.disable)()
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._folder)


class Limits:
    """The resource limits of the process at the moment of its creation."""

    def __init__(self) -> None:
        _touched.watch()
        numbers = {getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
        self._kept = {number: resource.getrlimit(number) for number in sorted(numbers)}

    def put_back(self) -> None:
        if not _touched.limits:
            return
        for number, kept in self._kept.items():
            if resource.getrlimit(number) != kept:
                _log.warning("a job left another resource limit, which is put back")
                resource.setrlimit(number, kept)
        _touched.limits = False


def ignore_alarms() -> None:
    """Ignore SIGALRM: the alarm of one job must not end a process that several jobs share."""
    if _in_main_thread():
        signal.signal(signal.SIGALRM, _ignored)


def _ignored(number: int, frame: Any) -> None:
    _log.warning("an alarm of a job was ignored: this pool has no use for SIGALRM")


def _in_main_thread() -> bool:
    # For threading a greenlet is another thread, but those of the main thread can set handlers.
    return threading.get_native_id() == threading.main_thread().native_id


def dump_stacks_on_usr1() -> None:
    """Let SIGUSR1 write the stack of each thread to stderr."""
    faulthandler.unregister(signal.SIGUSR1)
    faulthandler.register(signal.SIGUSR1, all_threads=True)


@contextlib.contextmanager
def watched_sessions() -> Iterator[None]:
    """Watch the database sessions of jobs, and those that are open in this thread already."""
    watch_connections()
    watch_this_thread()
    try:
        yield
    finally:
        unwatch_connections()
