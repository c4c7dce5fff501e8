"""Output that never fails: a closed pipe or an unencodable character must not end a process."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper

from .width import padded, width

# Errors of a reader that is gone for good. A full disk may become free again.
_GONE = (errno.EPIPE, errno.EBADF, errno.EIO)


def banner(title: str, *lines: tuple[str, str]) -> str:
    """Return the text that a process prints at its start: a title, and names with values."""
    widest = max(width(name) for name, _value in lines)
    return "\n".join([title, *(f"  {padded(name, widest)}  {value}" for name, value in lines)])


class Output:
    """Wraps a stream; text that cannot be written is dropped without an error."""

    def __init__(self, stream: Any) -> None:
        #: Whether the reader of the stream is gone: a write has failed for good.
        self.is_lost = False
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
        """Redirect the stream to the null device if its reader is gone."""
        if isinstance(error, OSError) and error.errno in _GONE:
            self.is_lost = True
            with contextlib.suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        elif getattr(self._stream, "closed", False):
            self._stream = _nowhere()

    def is_unread(self) -> bool:
        """Return whether nobody reads the stream any more, as after the end of a pipe's reader."""
        if self.is_lost:
            return True
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            return False
        poll = select.poll()
        poll.register(descriptor, 0)
        return any(event & select.POLLERR for _descriptor, event in poll.poll(0))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def protected_output(command: BaseCommand) -> Iterator[None]:
    """Keep output of *command*, and of the code that it runs, from raising errors."""
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
    if stream is None:  # its descriptor was closed before Python started
        return Output(_nowhere())
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return Output(stream)


def _nowhere() -> Any:
    # It stays open until the process ends.
    return Path(os.devnull).open("w", encoding="utf-8")
