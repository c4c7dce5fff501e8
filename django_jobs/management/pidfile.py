"""``--pidfile`` and ``--heartbeat-file``: files that exist while a process runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from django.core.management.base import CommandError

from ..process.heartbeat_file import HeartbeatFile

# The most bytes that are read; a file with more is not a pidfile.
_LONGEST = 32


@contextlib.contextmanager
def pidfile(name: str | None) -> Iterator[None]:
    """Write this process's id to the file *name*; refuse if it holds that of a running process."""
    if name is None:
        yield
        return
    path = Path(name)
    _write(path)
    try:
        yield
    finally:
        # Another process may have replaced the file.
        if _pid_in(path) == os.getpid():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def heartbeat_file(name: str | None) -> Iterator[HeartbeatFile | None]:
    """Create the heartbeat file *name*, and remove it at the end. Without a name there is none."""
    if name is None:
        yield None
        return
    file = HeartbeatFile(name)
    try:
        file.create()
    except ValueError as error:
        raise CommandError(str(error)) from None
    try:
        yield file
    finally:
        file.remove()


def _write(path: Path) -> None:
    """Create the file; O_EXCL makes the test for an existing file atomic."""
    # Never follow a link: users of the directory could choose a file to be overwritten.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    for _try in range(2):
        try:
            file = os.open(path, flags, 0o644)
        except FileExistsError:
            _remove_old(path)
            continue
        except OSError as error:
            raise CommandError(f"--pidfile {path} cannot be written: {error.strerror}.") from None
        with os.fdopen(file, "w") as text:
            text.write(f"{os.getpid()}\n")
        return
    raise CommandError(f"--pidfile {path} is being written by another process. Start one only.")


def _remove_old(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise CommandError(
            f"--pidfile {path} is a link or not a regular file. Give another name, or remove it."
        )
    if _is_alive(_pid_in(path)):
        raise CommandError(f"--pidfile {path} names a running process. Stop that one first.")
    path.unlink(missing_ok=True)


def _pid_in(path: Path) -> int | None:
    """Return the process id in the file, or None."""
    try:
        # Reading from a pipe or a device might block or never end.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(file, "rb") as data:
        text = data.read(_LONGEST)
    return int(text) if text.strip().isdigit() else None


def _is_alive(pid: int | None) -> bool:
    if not pid or pid == os.getpid():  # processes of restarted containers get the same ids
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
