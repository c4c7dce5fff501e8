"""A file to which bodies and the torturers append what they did; the engine knows nothing of it.

Each line is JSON and is written by one ``write()`` to a file opened with ``O_APPEND``, so that no
line is lost when its process is killed afterwards. A kill at the very moment may tear a line that
crosses a page of memory. Each write begins with a newline, so that it cannot join such a line, and
so every other line is empty. The torn one counts as not written. Times are of the host's monotonic
clock, which all processes share.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@functools.cache
def _file() -> int:
    return os.open(os.environ["TORTURE_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


@functools.cache
def _locks() -> int:
    # Closing any descriptor of this file would drop the locks of the process: it stays open.
    return os.open(os.environ["TORTURE_LEDGER"] + ".locks", os.O_RDWR | os.O_CREAT, 0o600)


def write(kind: str, **what: Any) -> None:
    line = {"t": time.monotonic(), "kind": kind, "pid": os.getpid(), **what}
    os.write(_file(), b"\n" + json.dumps(line).encode() + b"\n")


def read(path: Path, place: int = 0) -> Iterator[dict[str, Any]]:
    """Yield what was written from *place* on, a size that the file had."""
    with path.open() as lines:
        lines.seek(place)
        for line in lines:
            if line.rstrip().endswith("}"):
                yield json.loads(line)


class Body:
    """What a body does from its start to its end, as the ledger has it.

    Meanwhile it holds the lock of one byte that belongs to *key*, by default the job's id. The
    kernel releases it when the process dies, so whoever cannot get it runs beside another body.
    """

    def __init__(self, job_id: str, key: str | None = None) -> None:
        self._id = job_id
        self._byte = uuid.uuid5(uuid.NAMESPACE_OID, key or job_id).int >> 66

    def __enter__(self) -> None:
        write("start", id=self._id)
        try:
            fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._byte)
        except OSError:
            write("overlap", id=self._id)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        fcntl.lockf(_locks(), fcntl.LOCK_UN, 1, self._byte)
        write("end", id=self._id, error=kind.__name__ if kind else None)
