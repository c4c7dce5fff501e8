"""Tells when jobs keep so many descriptors open that later jobs could open none."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
from pathlib import Path

# Part of the free descriptors that jobs may keep open from one job to the next.
_SHARE = 3 / 4
# A process needs no more to record its outcomes and to end: for sessions and for sockets.
_SPARE = 16
# All workers of a process share these.
_spare: list[int] = []


class DescriptorsKept(Exception):
    """Jobs keep too many files and sockets open; the message has their number."""


class Descriptors:
    """The descriptors that this process may open, beside those at its creation.

    The process keeps a few of them, and gives them back when jobs keep too many. Without them a
    process that needs another socket could neither record outcomes nor end.
    """

    def __init__(self) -> None:
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        while len(_spare) < _SPARE:
            _spare.append(os.open(os.devnull, os.O_RDONLY))
        before = self._count()
        self._most = int(before + (self._limit - before) * _SHARE)
        # A new descriptor takes the lowest free number. No system gives so high a number where the
        # limit is infinite.
        self._last = self._most if self._limit != resource.RLIM_INFINITY else -1

    def put_back(self) -> None:
        """Raise DescriptorsKept if jobs keep too many open, also after a garbage collection."""
        try:
            # It costs one system call. To count the descriptors costs ten times as much.
            os.get_inheritable(self._last)
        except OSError:
            return
        if self._count() >= self._most:
            gc.collect()
            if (count := self._count()) >= self._most:
                _give_back()
                raise DescriptorsKept(
                    f"Jobs keep {count} of the {self._limit} descriptors of their process open."
                )

    def _count(self) -> int:
        try:
            return len(list(Path("/dev/fd").iterdir()))
        except OSError:  # it needs a descriptor itself
            return self._limit


def _give_back() -> None:
    while _spare:
        descriptor = _spare.pop()
        with contextlib.suppress(OSError):
            # A job may have closed it, and something else may have its number now.
            if os.path.samestat(os.fstat(descriptor), Path(os.devnull).stat()):
                os.close(descriptor)
