"""Threads that sleep until there is a job for them."""

from __future__ import annotations

import threading


class Sleepers:
    """Wakes as many threads as there are jobs, the one that fell asleep last first.

    So a few threads, and their database connections, do the work of a pool that has little to do.
    Every method is called with *lock* held, which guards the jobs.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._asleep: list[threading.Lock] = []

    def __len__(self) -> int:
        return len(self._asleep)

    def sleep(self) -> None:
        """Release the lock until this thread is woken."""
        called = threading.Lock()
        called.acquire()
        self._asleep.append(called)
        self._lock.release()
        try:
            called.acquire()
        except BaseException:  # raised by a signal handler
            self._lock.acquire()
            if called in self._asleep:
                self._asleep.remove(called)
            else:
                self.wake(1)
            raise
        self._lock.acquire()

    def wake(self, number: int) -> None:
        """Wake so many threads, or all if fewer sleep."""
        for _ in range(min(number, len(self._asleep))):
            self._asleep.pop().release()
