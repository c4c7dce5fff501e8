"""``--pidfile``: a file that holds a process's id while it runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from django.core.management.base import CommandError

# A number and a line end; a file that goes on is none of ours.
_LONGEST = 32


@contextlib.contextmanager
def pidfile(name: str | None) -> Iterator[None]:
    """Keep this process's id in the file *name*, if any; refuse when it names a running one."""
    if name is None:
        yield
        return
    path = Path(name)
    _write(path)
    try:
        yield
    finally:
        # Another process may have taken it over meanwhile.
        if _pid_in(path) == os.getpid():
            path.unlink(missing_ok=True)


def _write(path: Path) -> None:
    """Make the file, in one step with the look whether there is one."""
    # Never through a link: whoever may write to the directory could choose the file that is lost.
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
        raise CommandError(f"--pidfile {path} is a link or no file. Name a file, or remove it.")
    if _is_alive(_pid_in(path)):
        raise CommandError(f"--pidfile {path} names a running process. Stop that one first.")
    path.unlink(missing_ok=True)


def _pid_in(path: Path) -> int | None:
    """Return the process's id that the file holds, if it holds one."""
    try:
        # A link to a pipe or a device would never end.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(file, "rb") as data:
        text = data.read(_LONGEST)
    return int(text) if text.strip().isdigit() else None


def _is_alive(pid: int | None) -> bool:
    if not pid or pid == os.getpid():  # a container's processes get the same ids again
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
