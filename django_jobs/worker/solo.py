"""A worker in the command's own process, without a supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

from .. import log
from ..ids import uuid7
from ..process.heartbeat_file import HeartbeatFile
from .liveness import Liveness
from .options import WorkerOptions
from .shared_slots import SharedSlots
from .worker import LEFT_JOBS, RECYCLE, WorkerProcess, send_init, send_shutdown


def run_solo(options: WorkerOptions, heartbeat_file: HeartbeatFile | None = None) -> int:
    """Run one worker in this process, without a supervisor; return the exit code.

    *heartbeat_file* is touched while the worker lives.
    """
    with log.working_as(options.base_name):
        return _run(options, heartbeat_file)


def _run(options: WorkerOptions, heartbeat_file: HeartbeatFile | None) -> int:
    send_init(options)
    shared_slots, stop = SharedSlots(1), _Stop(options.grace_seconds)
    liveness = Liveness(heartbeat_file) if heartbeat_file else None

    def pulsed() -> None:
        if liveness is not None:
            liveness.look({0: shared_slots.stepped})

    code = RECYCLE
    with contextlib.closing(stop):
        while code == RECYCLE and not stop.asked:
            worker = WorkerProcess(options, uuid7(), 0, shared_slots, None, on_pulse=pulsed)
            stop.tell(worker)
            code = worker.run()
            worker.waker.close()
            options = worker.options  # as commands have changed them
    send_shutdown(options)
    return LEFT_JOBS if code == LEFT_JOBS else 0


class _Stop:
    """Passes stop signals on to the current worker, and to each worker that follows it."""

    def __init__(self, grace_seconds: float) -> None:
        self.asked: list[int] = []
        self._worker: WorkerProcess | None = None
        self._grace_seconds = grace_seconds
        self._read, self._write = os.pipe()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._count_down, name="grace", daemon=True)
        self._thread.start()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._hear)

    def tell(self, worker: WorkerProcess) -> None:
        """Make *worker* the current one; pass on a stop that came before."""
        self._worker = worker
        if self.asked:
            worker.stop()

    def _hear(self, number: int, frame: Any) -> None:
        # A signal handler must take no lock, as the interrupted code may hold it: flags and a pipe.
        self.asked.append(number)
        if len(self.asked) == 1 and not self._closed.is_set():
            os.write(self._write, b"!")
        if self._worker is not None:
            self._worker.stop()
            if number == signal.SIGQUIT or len(self.asked) > 1:
                self._worker.give_up()
                self._worker.pool.stop_now()

    def _count_down(self) -> None:
        if os.read(self._read, 1) and not self._closed.wait(self._grace_seconds):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGQUIT)

    def close(self) -> None:
        """End the count-down: the program that called the worker may go on."""
        self._closed.set()
        os.close(self._write)
        self._thread.join()
        os.close(self._read)
