"""Bodies that tell the ledger when they start and end."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from django.db import connection

from django_jobs import current_job, job
from tests.torture.ledger import Body


def body(key: str | None = None) -> Body:
    return Body(str(current_job.request.id), key)


@job
def quick(number: int = 0) -> int:
    with body():
        return number


@job
def work(seconds: float) -> None:
    with body():
        time.sleep(seconds)


@job(autoretry_for=(ValueError,), max_retries=3, retry_backoff=0.05, retry_jitter=False)
def flaky(times: int) -> int:
    with body():
        if current_job.request.retries < times:
            raise ValueError("not yet")
        return times


@job(atomic=True)
def effect() -> None:
    """Write a row that must be there exactly if the job succeeded, and once."""
    with body(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO torture_effects (job_id) VALUES (%s)", [str(current_job.request.id)]
        )
        time.sleep(0.002)


@job(acks_late=False)
def at_most_once() -> None:
    with body():
        time.sleep(0.002)


@job(concurrency=1, concurrency_key=["key"])
def exclusive(key: int) -> None:
    with body(f"exclusive {key}"):
        time.sleep(0.005)


@job(unique=True, unique_key=["key"])
def unique(key: int) -> None:
    with body(f"unique {key}"):
        time.sleep(0.005)


@job
def add(*numbers: Any) -> int:
    with body():
        time.sleep(0.002)
        return sum(sum(each) if isinstance(each, list) else each for each in numbers)


@job(bind=True)
def stepwise(self: Any, number: int) -> int:
    with body():
        first = self.step("first", lambda: number)
        time.sleep(0.002)
        second = self.step("second", lambda: first + 1)
        return int(self.step("third", lambda: second + 1))


@job
def segfault() -> None:
    with body():
        ctypes.string_at(0)


@job
def leave() -> None:
    with body():
        os._exit(0)


@job
def recurse() -> None:
    with body():
        deeper: Any = None
        for _ in range(5_000_000):
            deeper = [deeper]
        repr(deeper)
        raise AssertionError("the recursion came back")


@job
def hoard() -> None:
    """Take memory until its process may have no more."""
    with body():
        before = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, before[1]))
        try:
            hoarded = bytearray()
            while True:
                hoarded += bytes(2**22)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)


@job
def out_of_memory() -> None:
    """End as the kernel ends a process that took too much memory."""
    with body():
        os.kill(os.getpid(), signal.SIGKILL)


# A pool of threads refuses to serve a queue with a hard limit.
@job(time_limit=1.0, queue="prefork")
def spin() -> None:
    with body():
        ctypes.PyDLL(None).sleep(600)  # it keeps the interpreter's lock
