"""``python -m tests.torture.watcher NAME``: kills what a run leaves, whatever ends the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

#: All processes of a run have its name in this variable of their environment.
VARIABLE = "TORTURE_RUN"

_watchers: list[subprocess.Popen[Any]] = []


def begin() -> None:
    """Let a watcher wait for the end of this process.

    The end closes the watcher's input. Signals for the run's group do not reach the watcher.
    """
    name = str(uuid.uuid4())
    command = [sys.executable, "-m", "tests.torture.watcher", name]
    _watchers.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
    os.environ[VARIABLE] = name


def processes_of(name: str) -> list[int]:
    """Return the processes that the run *name* has started, also in sessions of their own."""
    mark, found = f"{VARIABLE}={name}\0".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def main(name: str) -> None:
    sys.stdin.buffer.read()
    while left := processes_of(name):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
