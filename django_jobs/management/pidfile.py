"""``--pidfile``: a file that holds a process's id while it runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from django.core.management.base import CommandError


@contextlib.contextmanager
def pidfile(name: str | None) -> Iterator[None]:
    """Keep this process's id in the file *name*, if any; refuse when it names a running one."""
    if name is None:
        yield
        return
    path = Path(name)
    if path.exists() and _is_alive(path.read_text()):
        raise CommandError(f"--pidfile {name} names a running process; stop that one first")
    path.write_text(f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _is_alive(text: str) -> bool:
    try:
        pid = int(text)
        if pid <= 0 or pid == os.getpid():  # a container's processes get the same ids again
            return False
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    return True
