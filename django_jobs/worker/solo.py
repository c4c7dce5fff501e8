"""One worker in the command's own process, without a supervisor."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from .. import signals
from ..ids import uuid7
from .board import Board
from .options import WorkerOptions
from .process import RECYCLE, WorkerProcess


def run_solo(options: WorkerOptions) -> int:
    """Run one worker in this process, without a supervisor; return the exit code."""
    signals.send(signals.worker_init, WorkerProcess, options=options)
    board = Board(1)
    code = RECYCLE
    while code == RECYCLE:
        worker = WorkerProcess(options, uuid7(), 0, board, line=None)
        _stop_on_signals(worker)
        code = worker.run()
        worker.waker.close()
        options = worker.options  # as commands have changed them
    signals.send(signals.worker_shutdown, WorkerProcess)
    return code


def _stop_on_signals(worker: WorkerProcess) -> None:
    asked: list[int] = []

    def stop(number: int, frame: Any) -> None:
        asked.append(number)
        worker.stop()
        if len(asked) == 1:
            _quit_after(worker.options.grace_seconds)
        if number == signal.SIGQUIT or len(asked) > 1:
            worker.pool.stop_now()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)


def _quit_after(seconds: float) -> None:
    timer = threading.Timer(seconds, os.kill, [os.getpid(), signal.SIGQUIT])
    timer.daemon = True
    timer.start()
