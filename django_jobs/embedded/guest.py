"""The threads of an embedded worker: it works until its web process ends."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable

from django.db import connections

from .. import log
from ..beat.loop import Beat
from ..ids import uuid7
from ..worker.options import WorkerOptions
from ..worker.reaper import REAP_SECONDS, give_back
from ..worker.shared_slots import SharedSlots
from ..worker.worker import RECYCLE, WorkerProcess, send_init, send_shutdown
from . import gunicorn

_log = logging.getLogger("django_jobs.worker")

# Seconds: between two looks of a stop; for the end of a heartbeat or a beat; after a beat failed.
_LOOK, _LEAVE, _PAUSE = 0.05, 2.0, 10.0


class EmbeddedWorker:
    """A worker in threads of a web process, which owns the signals and the main thread."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        self._pid = 0
        self._name = ""
        self._worker: WorkerProcess | None = None
        self._beat: Beat | None = None
        self._asked = threading.Event()
        self._deadline = math.inf
        self._worker_ended, self._beat_ended = threading.Event(), threading.Event()
        self._closed = threading.Event()
        self._finished = True

    @property
    def running(self) -> bool:
        """Whether the worker runs in this process; False in a process that was forked later."""
        return self._pid == os.getpid() and not self._closed.is_set()

    @property
    def is_wanted(self) -> bool:
        """Whether the worker was started, here or for the web processes, and not stopped."""
        return self._pid in (0, os.getpid()) and not self._asked.is_set()

    def begin(self) -> None:
        """Start the threads."""
        if self._asked.is_set():
            return
        self._pid = os.getpid()
        self._name = f"{socket.gethostname()}-web-{self._pid}"
        atexit.register(self._at_exit)
        gunicorn.before_exit(self.stop)
        parts = {"worker": self._run_worker, "beat": self._run_beat, "stop": self._close}
        if not self.options.beat:
            del parts["beat"]
            self._beat_ended.set()
        for name, target in parts.items():
            thread = f"embedded-{name}"
            threading.Thread(target=self._run, args=(target,), name=thread, daemon=True).start()

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the running jobs and end; return whether all of them ended in time.

        After *timeout* seconds, by default ``stop_timeout``, the jobs that still run are given
        back, to run again elsewhere; nothing ends their threads. It does nothing in a process that
        was forked after the start. It blocks: in an event loop, call it in a thread.
        """
        if self._pid not in (0, os.getpid()):
            return True
        self._ask(timeout)
        if self._pid and not self._closed.is_set():
            left = max(0.0, self._deadline - time.monotonic())
            self._closed.wait(left + REAP_SECONDS + 2 * _LEAVE)
        return self._finished

    def _ask(self, timeout: float | None) -> None:
        seconds = self.options.grace_seconds if timeout is None else timeout
        self._deadline = min(self._deadline, time.monotonic() + seconds)
        self._asked.set()

    def _at_exit(self) -> None:
        if self._pid != os.getpid():
            return  # a forked child exits
        try:
            self.stop()
        except BaseException:  # a second Ctrl-C, or a signal handler of the server
            self.stop(0)

    # --- the threads ----------------------------------------------------------------------------

    def _run(self, target: Callable[[], None]) -> None:
        with log.working_as(self._name):
            target()

    def _run_worker(self) -> None:
        options = dataclasses.replace(self.options, name=self._name)
        send_init(options)
        try:
            code = RECYCLE
            while code == RECYCLE and not self._asked.is_set():
                self._worker = worker = self._new_worker(options)
                if self._asked.is_set():
                    worker.stop()
                code = worker.run()
                worker.waker.close()
                options = worker.options  # as commands have changed them
            send_shutdown(options)
        except Exception:
            _log.critical("embedded worker failed name=%s", self._name, exc_info=True)
        finally:
            self._worker_ended.set()
            self._ask(None)

    def _new_worker(self, options: WorkerOptions) -> WorkerProcess:
        return WorkerProcess(
            options,
            uuid7(),
            0,
            SharedSlots(options.slots),
            None,
            on_failure=self._fail,
            shut_down=lambda cold: self._ask(0 if cold else None),
        )

    def _fail(self) -> None:
        connections.close_all()  # those of the thread that has failed
        self._ask(0)

    def _run_beat(self) -> None:
        while not self._asked.is_set():
            self._beat = beat = Beat(self.options.using, name=self._name)
            if self._asked.is_set():
                beat.stop()
            try:
                beat.run()
            except Exception:
                _log.critical("embedded beat failed name=%s", self._name, exc_info=True)
                connections.close_all()
                self._asked.wait(_PAUSE)
        self._beat_ended.set()

    def _close(self) -> None:
        """Wait for the end and end the others."""
        self._asked.wait()
        if self._beat is not None:
            self._beat.stop()
        if self._worker is not None:
            self._worker.stop()
            self._worker.note_stop()
        while not self._worker_ended.wait(_LOOK) and time.monotonic() < self._deadline:
            continue
        if self._worker is not None and not self._has_ended(self._worker):
            self._finished = False
            _log.warning("stop_timeout is over: jobs that still run are given back")
            give_back(self._worker.abandon(), self.options.using)
            connections.close_all()
        self._beat_ended.wait(_LEAVE)
        self._closed.set()

    def _has_ended(self, worker: WorkerProcess) -> bool:
        """Return whether no job runs; the worker then has some time to sign off."""
        return self._worker_ended.wait(0.0 if worker.shared_slots.running() else _LEAVE)
