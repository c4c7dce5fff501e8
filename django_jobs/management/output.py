"""Output that never fails: neither a closed pipe nor a character ends a job or a process."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper

from .width import padded, width

# The reader is gone for good. A full disk is not: it may have room again.
_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)


def banner(title: str, *lines: tuple[str, str]) -> str:
    """Return what a process says of itself at its start: a title, and names with values."""
    widest = max(width(name) for name, _value in lines)
    return "\n".join([title, *(f"  {padded(name, widest)}  {value}" for name, value in lines)])


class Output:
    """A stream like the one it is given. Text that cannot be written is lost without an error."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str, *args: Any, **kwargs: Any) -> int:
        try:
            self._stream.write(text, *args, **kwargs)
        except (OSError, ValueError) as error:
            self._lose(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        """Write to nowhere from now on when nobody reads any more."""
        if isinstance(error, OSError) and error.errno in _GONE:
            with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        elif getattr(self._stream, "closed", False):
            self._stream = _nowhere()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def protected_output(command: BaseCommand) -> Iterator[None]:
    """Let no output of *command*, and of what it runs, raise an error."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _protected(sys.stdout), _protected(sys.stderr)
    if before[0] is None:
        command.stdout = OutputWrapper(sys.stdout)
    # OutputWrapper has the methods of a stream.
    command.stdout = Output(command.stdout)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _protected(stream: Any) -> Any:
    if stream is None:  # its descriptor was closed when Python began
        return Output(_nowhere())
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return Output(stream)


def _nowhere() -> Any:
    # Open to the end of the process.
    return Path(os.devnull).open("w", encoding="utf-8")
